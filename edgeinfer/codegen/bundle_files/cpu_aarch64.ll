; Whether this CPU has what the kernels need, asked of its identification registers, as Arm's Architecture Reference
; Manual describes them. Linux lets programs read them (kernel 4.11 and newer).
declare i64 @llvm.read_register.i64(metadata)

; Whether a field of four bits is at least as large as wanted; 15 says that the feature is absent.
define internal i1 @has_field(i64 %register, i64 %lowest_bit, i64 %wanted) #0 {
  %shifted = lshr i64 %register, %lowest_bit
  %field = and i64 %shifted, 15
  %enough = icmp uge i64 %field, %wanted
  %absent = icmp eq i64 %field, 15
  %present = xor i1 %absent, true
  %good = and i1 %enough, %present
  ret i1 %good
}

define internal i1 @cpu_has_level() #0 {
  %isar0 = call i64 @llvm.read_register.i64(metadata !0)
  %isar1 = call i64 @llvm.read_register.i64(metadata !1)
  %pfr0 = call i64 @llvm.read_register.i64(metadata !2)
  %atomics = call i1 @has_field(i64 %isar0, i64 20, i64 2)
  %dotprod = call i1 @has_field(i64 %isar0, i64 44, i64 1)
  %i8mm = call i1 @has_field(i64 %isar1, i64 52, i64 ${i8mm})
  %float16 = call i1 @has_field(i64 %pfr0, i64 20, i64 1)
  %first = and i1 %atomics, %dotprod
  %second = and i1 %i8mm, %float16
  %good = and i1 %first, %second
  ret i1 %good
}

!0 = !{!"ID_AA64ISAR0_EL1"}
!1 = !{!"ID_AA64ISAR1_EL1"}
!2 = !{!"ID_AA64PFR0_EL1"}
