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
