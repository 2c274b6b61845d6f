; floorf, ceilf and roundevenf for Armv7, whose NEON cannot round: LLVM calls these functions of the C library instead,
; which kernels do without. Adding and subtracting 2^23 rounds numbers below it to integers, ties to even.

declare float @llvm.fabs.f32(float)
declare float @llvm.copysign.f32(float, float)

define float @roundevenf(float %x) nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %fraction = fcmp olt float %size, 8388608.0
  %above = fadd float %size, 8388608.0
  %whole = fsub float %above, 8388608.0
  %signed = call float @llvm.copysign.f32(float %whole, float %x)
  %result = select i1 %fraction, float %signed, float %x
  ret float %result
}

define float @floorf(float %x) nounwind {
  %near = call float @roundevenf(float %x)
  %over = fcmp ogt float %near, %x
  %less = fsub float %near, 1.0
  %whole = select i1 %over, float %less, float %near
  %result = call float @llvm.copysign.f32(float %whole, float %x)
  ret float %result
}

define float @ceilf(float %x) nounwind {
  %near = call float @roundevenf(float %x)
  %under = fcmp olt float %near, %x
  %more = fadd float %near, 1.0
  %whole = select i1 %under, float %more, float %near
  %result = call float @llvm.copysign.f32(float %whole, float %x)
  ret float %result
}

; Division of int64 and its conversion to float, which LLVM calls from the compiler's library by the names of the
; run-time ABI for the Arm architecture (IHI 0043). One bit of the quotient a turn, as many as it has.

declare i64 @llvm.ctlz.i64(i64, i1)

define arm_aapcscc { i64, i64 } @__aeabi_uldivmod(i64 %numerator, i64 %divisor) nounwind {
entry:
  %below = icmp ult i64 %numerator, %divisor
  %zero = icmp eq i64 %divisor, 0
  %stop = or i1 %below, %zero
  br i1 %stop, label %none, label %align

none:
  %whole = insertvalue { i64, i64 } { i64 0, i64 undef }, i64 %numerator, 1
  ret { i64, i64 } %whole

align:
  %numerator.zeros = call i64 @llvm.ctlz.i64(i64 %numerator, i1 true)
  %divisor.zeros = call i64 @llvm.ctlz.i64(i64 %divisor, i1 true)
  %shift = sub i64 %divisor.zeros, %numerator.zeros
  %first = shl i64 %divisor, %shift
  %turns = add i64 %shift, 1
  br label %turn

turn:
  %left = phi i64 [ %turns, %align ], [ %left.next, %turn ]
  %rest = phi i64 [ %numerator, %align ], [ %rest.next, %turn ]
  %multiple = phi i64 [ %first, %align ], [ %multiple.next, %turn ]
  %quotient = phi i64 [ 0, %align ], [ %quotient.next, %turn ]
  %fits = icmp uge i64 %rest, %multiple
  %less = sub i64 %rest, %multiple
  %rest.next = select i1 %fits, i64 %less, i64 %rest
  %bit = zext i1 %fits to i64
  %doubled = shl i64 %quotient, 1
  %quotient.next = or i64 %doubled, %bit
  %multiple.next = lshr i64 %multiple, 1
  %left.next = sub i64 %left, 1
  %done = icmp eq i64 %left.next, 0
  br i1 %done, label %end, label %turn

end:
  %half = insertvalue { i64, i64 } undef, i64 %quotient.next, 0
  %both = insertvalue { i64, i64 } %half, i64 %rest.next, 1
  ret { i64, i64 } %both
}

define arm_aapcscc { i64, i64 } @__aeabi_ldivmod(i64 %numerator, i64 %divisor) nounwind {
  %numerator.sign = ashr i64 %numerator, 63
  %divisor.sign = ashr i64 %divisor, 63
  %numerator.flipped = xor i64 %numerator, %numerator.sign
  %divisor.flipped = xor i64 %divisor, %divisor.sign
  %numerator.size = sub i64 %numerator.flipped, %numerator.sign
  %divisor.size = sub i64 %divisor.flipped, %divisor.sign
  %sizes = call arm_aapcscc { i64, i64 } @__aeabi_uldivmod(i64 %numerator.size, i64 %divisor.size)
  %quotient.size = extractvalue { i64, i64 } %sizes, 0
  %rest.size = extractvalue { i64, i64 } %sizes, 1
  %sign = xor i64 %numerator.sign, %divisor.sign
  %quotient.flipped = xor i64 %quotient.size, %sign
  %quotient = sub i64 %quotient.flipped, %sign
  %rest.flipped = xor i64 %rest.size, %numerator.sign
  %rest = sub i64 %rest.flipped, %numerator.sign
  %half = insertvalue { i64, i64 } undef, i64 %quotient, 0
  %both = insertvalue { i64, i64 } %half, i64 %rest, 1
  ret { i64, i64 } %both
}

; Exact in double below 2^53, and rounded once more to float.
define arm_aapcscc float @__aeabi_l2f(i64 %x) nounwind {
  %high.bits = ashr i64 %x, 32
  %high = trunc i64 %high.bits to i32
  %low = trunc i64 %x to i32
  %high.double = sitofp i32 %high to double
  %low.double = uitofp i32 %low to double
  %scaled = fmul double %high.double, 4294967296.0
  %sum = fadd double %scaled, %low.double
  %result = fptrunc double %sum to float
  ret float %result
}

; Rounded once: the halves and the product are exact.
define arm_aapcscc double @__aeabi_l2d(i64 %x) nounwind {
  %high.bits = ashr i64 %x, 32
  %high = trunc i64 %high.bits to i32
  %low = trunc i64 %x to i32
  %high.double = sitofp i32 %high to double
  %low.double = uitofp i32 %low to double
  %scaled = fmul double %high.double, 4294967296.0
  %sum = fadd double %scaled, %low.double
  ret double %sum
}
