; Whether this CPU and its system have what the kernels need, asked of CPUID and XGETBV as Intel's manual says.
define internal i1 @has_all(i32 %word, i32 %mask) #0 {
  %present = and i32 %word, %mask
  %all = icmp eq i32 %present, %mask
  ret i1 %all
}

; cpuid(leaf, part, words): EAX, EBX, ECX and EDX go to words. LLVM has no intrinsic for it, and its assembler need not be
; there for this CPU, so that the function is given as machine code (System V calling convention):
;   push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid; mov [r8], eax; mov [r8 + 4], ebx; mov [r8 + 8], ecx;
;   mov [r8 + 12], edx; pop rbx; ret
define internal void @cpuid(i32 %leaf, i32 %part, ptr %words) #0 prologue [29 x i8]
    c"\53\89\F8\89\F1\49\89\D0\0F\A2\41\89\00\41\89\58\04\41\89\48\08\41\89\50\0C\5B\C3\90\90" {
  ret void
}

declare i64 @llvm.x86.xgetbv(i32)

define internal i32 @saved_registers() #1 {
  %xcr0 = call i64 @llvm.x86.xgetbv(i32 0)
  %low = trunc i64 %xcr0 to i32
  ret i32 %low
}

define internal i32 @cpuid_word(i32 %leaf, i32 %part, i64 %index) #0 {
  %words = alloca [4 x i32], align 4
  call void @cpuid(i32 %leaf, i32 %part, ptr %words)
  %place = getelementptr i32, ptr %words, i64 %index
  %word = load i32, ptr %place, align 4
  ret i32 %word
}

define internal i1 @tile_registers_allowed() #0 {
${tile_registers}
  ret i1 %allowed
}

define internal i1 @cpu_has_level() #0 {
start:
  %leaf1_ecx = call i32 @cpuid_word(i32 1, i32 0, i64 2)
  %good1 = call i1 @has_all(i32 %leaf1_ecx, i32 ${leaf1_ecx})
  br i1 %good1, label %wide, label %no
wide:
  br i1 ${needs_avx}, label %system, label %yes
system:
  %xcr0 = call i32 @saved_registers()
  %saved = call i1 @has_all(i32 %xcr0, i32 ${xcr0})
  %highest = call i32 @cpuid_word(i32 0, i32 0, i64 0)
  %has7 = icmp uge i32 %highest, 7
  %most = and i1 %saved, %has7
  br i1 %most, label %leaf7, label %no
leaf7:
  %parts = call i32 @cpuid_word(i32 7, i32 0, i64 0)
  %ebx = call i32 @cpuid_word(i32 7, i32 0, i64 1)
  %ecx = call i32 @cpuid_word(i32 7, i32 0, i64 2)
  %good_ebx = call i1 @has_all(i32 %ebx, i32 ${leaf7_ebx})
  %good_ecx = call i1 @has_all(i32 %ecx, i32 ${leaf7_ecx})
  %edx = call i32 @cpuid_word(i32 7, i32 0, i64 3)
  %good_edx = call i1 @has_all(i32 %edx, i32 ${leaf7_edx})
  %good_both = and i1 %good_ebx, %good_ecx
  %good7 = and i1 %good_both, %good_edx
  br i1 %good7, label %registers, label %no
registers:
  %allowed = call i1 @tile_registers_allowed()
  br i1 %allowed, label %last, label %no
last:
  %wanted = icmp ne i32 ${leaf7_1_eax}, 0
  br i1 %wanted, label %leaf7_1, label %yes
leaf7_1:
  %has_part = icmp uge i32 %parts, 1
  %eax = call i32 @cpuid_word(i32 7, i32 1, i64 0)
  %good_eax = call i1 @has_all(i32 %eax, i32 ${leaf7_1_eax})
  %good = and i1 %has_part, %good_eax
  ret i1 %good
yes:
  ret i1 true
no:
  ret i1 false
}

attributes #1 = { nounwind "target-cpu"="x86-64" "target-features"="+xsave" }
