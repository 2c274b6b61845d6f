; AMX's tile registers in memory, for processors without them: each thread has its own, found by its thread pointer.
; Of a register 16 rows of 64 bytes are kept, whatever its size; the configuration lies as LDTILECFG reads it.
%stand_in.tiles = type { i64, [64 x i8], [8 x [1024 x i8]] }
@stand_in.threads = internal global [64 x %stand_in.tiles] zeroinitializer, align 64

declare ptr @llvm.thread.pointer.p0()
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define internal ptr @stand_in.own() {
  %thread = call ptr @llvm.thread.pointer.p0()
  %key = ptrtoint ptr %thread to i64
  br label %next
next:
  %index = phi i64 [ 0, %0 ], [ %after, %taken ]
  %place = getelementptr [64 x %stand_in.tiles], ptr @stand_in.threads, i64 0, i64 %index
  %old = cmpxchg ptr %place, i64 0, i64 %key seq_cst seq_cst
  %owner = extractvalue { i64, i1 } %old, 0
  %was_free = extractvalue { i64, i1 } %old, 1
  %is_own = icmp eq i64 %owner, %key
  %found = or i1 %was_free, %is_own
  br i1 %found, label %done, label %taken
taken:
  %after = add i64 %index, 1
  br label %next
done:
  ret ptr %place
}

define internal i64 @stand_in.rows(ptr %own, i8 %tile) {
  %number = zext i8 %tile to i64
  %at = add i64 %number, 56
  %place = getelementptr i8, ptr %own, i64 %at
  %rows = load i8, ptr %place
  %count = zext i8 %rows to i64
  ret i64 %count
}

define internal i64 @stand_in.row_bytes(ptr %own, i8 %tile) {
  %number = zext i8 %tile to i64
  %twice = mul i64 %number, 2
  %at = add i64 %twice, 24
  %place = getelementptr i8, ptr %own, i64 %at
  %bytes = load i16, ptr %place, align 2
  %count = zext i16 %bytes to i64
  ret i64 %count
}

define internal ptr @stand_in.tile(ptr %own, i8 %tile) {
  %number = zext i8 %tile to i64
  %place = getelementptr %stand_in.tiles, ptr %own, i64 0, i32 2, i64 %number
  ret ptr %place
}

define internal void @stand_in.x86.ldtilecfg(ptr %configuration) {
  %own = call ptr @stand_in.own()
  %place = getelementptr i8, ptr %own, i64 8
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %configuration, i64 64, i1 false)
  %tiles = getelementptr i8, ptr %own, i64 72
  call void @llvm.memset.p0.i64(ptr %tiles, i8 0, i64 8192, i1 false)
  ret void
}

define internal void @stand_in.x86.tilerelease() {
  %own = call ptr @stand_in.own()
  %place = getelementptr i8, ptr %own, i64 8
  call void @llvm.memset.p0.i64(ptr %place, i8 0, i64 64, i1 false)
  ret void
}

define internal void @stand_in.x86.tileloadd64(i8 %tile, ptr %source, i64 %pitch) {
  %own = call ptr @stand_in.own()
  %rows = call i64 @stand_in.rows(ptr %own, i8 %tile)
  %bytes = call i64 @stand_in.row_bytes(ptr %own, i8 %tile)
  %register = call ptr @stand_in.tile(ptr %own, i8 %tile)
  br label %next
next:
  %row = phi i64 [ 0, %0 ], [ %after, %copy ]
  %left = icmp ult i64 %row, %rows
  br i1 %left, label %copy, label %done
copy:
  %from = mul i64 %row, %pitch
  %x = getelementptr i8, ptr %source, i64 %from
  %to = mul i64 %row, 64
  %y = getelementptr i8, ptr %register, i64 %to
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 %bytes, i1 false)
  %after = add i64 %row, 1
  br label %next
done:
  ret void
}

define internal void @stand_in.x86.tilestored64(i8 %tile, ptr %target, i64 %pitch) {
  %own = call ptr @stand_in.own()
  %rows = call i64 @stand_in.rows(ptr %own, i8 %tile)
  %bytes = call i64 @stand_in.row_bytes(ptr %own, i8 %tile)
  %register = call ptr @stand_in.tile(ptr %own, i8 %tile)
  br label %next
next:
  %row = phi i64 [ 0, %0 ], [ %after, %copy ]
  %left = icmp ult i64 %row, %rows
  br i1 %left, label %copy, label %done
copy:
  %from = mul i64 %row, 64
  %x = getelementptr i8, ptr %register, i64 %from
  %to = mul i64 %row, %pitch
  %y = getelementptr i8, ptr %target, i64 %to
  call void @llvm.memcpy.p0.p0.i64(ptr %y, ptr %x, i64 %bytes, i1 false)
  %after = add i64 %row, 1
  br label %next
done:
  ret void
}

; sums[m][n] += dot(a[m][k], b[k][n]) for all m, n and k, a unit of four bytes at a time.
define internal void @stand_in.x86.tdpbusd(i8 %sums, i8 %a, i8 %b) {
  %own = call ptr @stand_in.own()
  %rows = call i64 @stand_in.rows(ptr %own, i8 %sums)
  %a_bytes = call i64 @stand_in.row_bytes(ptr %own, i8 %a)
  %units = udiv i64 %a_bytes, 4
  %y = call ptr @stand_in.tile(ptr %own, i8 %sums)
  %x = call ptr @stand_in.tile(ptr %own, i8 %a)
  %w = call ptr @stand_in.tile(ptr %own, i8 %b)
  br label %next_row
next_row:
  %m = phi i64 [ 0, %0 ], [ %m_after, %row_done ]
  %rows_left = icmp ult i64 %m, %rows
  br i1 %rows_left, label %row, label %done
row:
  %row_at = mul i64 %m, 64
  %y_row = getelementptr i8, ptr %y, i64 %row_at
  %x_row = getelementptr i8, ptr %x, i64 %row_at
  %first = load <16 x i32>, ptr %y_row, align 4
  br label %next_unit
next_unit:
  %k = phi i64 [ 0, %row ], [ %k_after, %unit ]
  %total = phi <16 x i32> [ %first, %row ], [ %more, %unit ]
  %units_left = icmp ult i64 %k, %units
  br i1 %units_left, label %unit, label %row_done
unit:
  %unit_at = mul i64 %k, 4
  %unit_place = getelementptr i8, ptr %x_row, i64 %unit_at
  %one = load i32, ptr %unit_place
  %first_lane = insertelement <16 x i32> poison, i32 %one, i32 0
  %all = shufflevector <16 x i32> %first_lane, <16 x i32> poison, <16 x i32> zeroinitializer
  %w_at = mul i64 %k, 64
  %w_place = getelementptr i8, ptr %w, i64 %w_at
  %weights = load <16 x i32>, ptr %w_place, align 4
  %x_up0 = lshr <16 x i32> %all, splat (i32 0)
  %x0 = and <16 x i32> %x_up0, splat (i32 255)
  %w_up0 = shl <16 x i32> %weights, splat (i32 24)
  %w0 = ashr <16 x i32> %w_up0, splat (i32 24)
  %p0 = mul <16 x i32> %x0, %w0
  %x_up1 = lshr <16 x i32> %all, splat (i32 8)
  %x1 = and <16 x i32> %x_up1, splat (i32 255)
  %w_up1 = shl <16 x i32> %weights, splat (i32 16)
  %w1 = ashr <16 x i32> %w_up1, splat (i32 24)
  %p1 = mul <16 x i32> %x1, %w1
  %x_up2 = lshr <16 x i32> %all, splat (i32 16)
  %x2 = and <16 x i32> %x_up2, splat (i32 255)
  %w_up2 = shl <16 x i32> %weights, splat (i32 8)
  %w2 = ashr <16 x i32> %w_up2, splat (i32 24)
  %p2 = mul <16 x i32> %x2, %w2
  %x_up3 = lshr <16 x i32> %all, splat (i32 24)
  %x3 = and <16 x i32> %x_up3, splat (i32 255)
  %w_up3 = shl <16 x i32> %weights, splat (i32 0)
  %w3 = ashr <16 x i32> %w_up3, splat (i32 24)
  %p3 = mul <16 x i32> %x3, %w3
  %s0 = add <16 x i32> %p0, %p1
  %s1 = add <16 x i32> %p2, %p3
  %s2 = add <16 x i32> %s0, %s1
  %more = add <16 x i32> %total, %s2
  %k_after = add i64 %k, 1
  br label %next_unit
row_done:
  store <16 x i32> %total, ptr %y_row, align 4
  %m_after = add i64 %m, 1
  br label %next_row
done:
  ret void
}

define internal void @stand_in.x86.tdpbf16ps(i8 %sums, i8 %a, i8 %b) {
  %own = call ptr @stand_in.own()
  %rows = call i64 @stand_in.rows(ptr %own, i8 %sums)
  %a_bytes = call i64 @stand_in.row_bytes(ptr %own, i8 %a)
  %units = udiv i64 %a_bytes, 4
  %y = call ptr @stand_in.tile(ptr %own, i8 %sums)
  %x = call ptr @stand_in.tile(ptr %own, i8 %a)
  %w = call ptr @stand_in.tile(ptr %own, i8 %b)
  br label %next_row
next_row:
  %m = phi i64 [ 0, %0 ], [ %m_after, %row_done ]
  %rows_left = icmp ult i64 %m, %rows
  br i1 %rows_left, label %row, label %done
row:
  %row_at = mul i64 %m, 64
  %y_row = getelementptr i8, ptr %y, i64 %row_at
  %x_row = getelementptr i8, ptr %x, i64 %row_at
  %first = load <16 x float>, ptr %y_row, align 4
  br label %next_unit
next_unit:
  %k = phi i64 [ 0, %row ], [ %k_after, %unit ]
  %total = phi <16 x float> [ %first, %row ], [ %more, %unit ]
  %units_left = icmp ult i64 %k, %units
  br i1 %units_left, label %unit, label %row_done
unit:
  %unit_at = mul i64 %k, 4
  %unit_place = getelementptr i8, ptr %x_row, i64 %unit_at
  %one = load i32, ptr %unit_place
  %first_lane = insertelement <16 x i32> poison, i32 %one, i32 0
  %all = shufflevector <16 x i32> %first_lane, <16 x i32> poison, <16 x i32> zeroinitializer
  %w_at = mul i64 %k, 64
  %w_place = getelementptr i8, ptr %w, i64 %w_at
  %weights = load <16 x i32>, ptr %w_place, align 4
  %x_up0 = shl <16 x i32> %all, splat (i32 16)
  %x0 = bitcast <16 x i32> %x_up0 to <16 x float>
  %w_up0 = shl <16 x i32> %weights, splat (i32 16)
  %w0 = bitcast <16 x i32> %w_up0 to <16 x float>
  %p0 = fmul <16 x float> %x0, %w0
  %x_up1 = and <16 x i32> %all, splat (i32 -65536)
  %x1 = bitcast <16 x i32> %x_up1 to <16 x float>
  %w_up1 = and <16 x i32> %weights, splat (i32 -65536)
  %w1 = bitcast <16 x i32> %w_up1 to <16 x float>
  %p1 = fmul <16 x float> %x1, %w1
  %s0 = fadd <16 x float> %p0, %p1
  %more = fadd <16 x float> %total, %s0
  %k_after = add i64 %k, 1
  br label %next_unit
row_done:
  store <16 x float> %total, ptr %y_row, align 4
  %m_after = add i64 %m, 1
  br label %next_row
done:
  ret void
}
