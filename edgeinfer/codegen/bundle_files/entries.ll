; The C functions of a bundle. edgeinfer.codegen.bundle_module fills in the places in braces and links this with the kernels.
;
; An instance lives in the app's block, from its first multiple of 64 on (offsets in bytes):
;   0            i64 magic, which says that the instance is ready; i64 threads
;   ${team}      TEAM record            (edgeinfer/abi.py)
;   ${bases}     table of bases: arena, weights, inputs, outputs
;   ${arena}     tensors
;   ${workers}   one WORKER record for each thread
;   behind them  scratch memory of each thread
;
; Addresses are kept as i64 on every CPU.

target triple = "${triple}"

@"${name}.weights" = internal constant [${weight_bytes} x i8] c"${weights}", align 64
@"${name}.params" = internal constant [${params_bytes} x i8] c"${params}", align 64
@"${name}.steps" = internal constant [${row_count} x ${row_type}] [${steps}], align 64
@"${name}.info" = internal constant [${info_bytes} x i8] c"${info}", align 64
${tensors}

${declarations}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

${cpu_check}

${large_pages}

define internal ptr @instance(ptr %block) #0 {
  %address = ptrtoint ptr %block to i64
  %above = add i64 %address, 63
  %aligned = and i64 %above, -64
  %instance = inttoptr i64 %aligned to ptr
  ret ptr %instance
}

define internal i1 @is_ready(ptr %instance) #0 {
  %magic = load i64, ptr %instance, align 8
  %ready = icmp eq i64 %magic, ${magic}
  ret i1 %ready
}

define internal ptr @worker_of(ptr %instance, i32 %index) #0 {
  %wide = zext i32 %index to i64
  %record = mul i64 %wide, ${worker_bytes}
  %offset = add i64 %record, ${workers}
  %worker = getelementptr i8, ptr %instance, i64 %offset
  ret ptr %worker
}

define internal void @store_at(ptr %record, i64 %offset, i64 %value) #0 {
  %place = getelementptr i8, ptr %record, i64 %offset
  store i64 %value, ptr %place, align 8
  ret void
}

; Writes addresses into the table of bases; false if one of them is null.
define internal i1 @bind(ptr %bases, ptr %arrays, i64 %count) #0 {
start:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %check
check:
  %missing = icmp eq ptr %arrays, null
  br i1 %missing, label %failed, label %next
next:
  %index = phi i64 [0, %check], [%following, %store]
  %from = getelementptr ptr, ptr %arrays, i64 %index
  %array = load ptr, ptr %from
  %absent = icmp eq ptr %array, null
  br i1 %absent, label %failed, label %store
store:
  %address = ptrtoint ptr %array to i64
  %to = getelementptr i64, ptr %bases, i64 %index
  store i64 %address, ptr %to, align 8
  %following = add i64 %index, 1
  %more = icmp ult i64 %following, %count
  br i1 %more, label %next, label %done
done:
  ret i1 true
failed:
  ret i1 false
}

define i32 @${name}_abi() #0 {
  ret i32 ${bundle_abi}
}

define ptr @${name}_info() #0 {
  ret ptr @"${name}.info"
}

define ptr @${name}_input(i32 %index) #0 {
  %known = icmp ult i32 %index, ${input_count}
  %wide = zext i32 %index to i64
  %tensor = getelementptr ${tensor_type}, ptr @"${name}.inputs", i64 %wide
  %result = select i1 %known, ptr %tensor, ptr null
  ret ptr %result
}

define ptr @${name}_output(i32 %index) #0 {
  %known = icmp ult i32 %index, ${output_count}
  %wide = zext i32 %index to i64
  %tensor = getelementptr ${tensor_type}, ptr @"${name}.outputs", i64 %wide
  %result = select i1 %known, ptr %tensor, ptr null
  ret ptr %result
}

define ${size} @${name}_memory_size(i32 %threads) #0 {
  %below = add i32 %threads, -1
  %good = icmp ult i32 %below, ${max_threads}
  %count = zext i32 %threads to i64
  %each = mul i64 %count, ${thread_bytes}
  %bytes = add i64 %each, ${fixed_bytes}
  %chosen = select i1 %good, i64 %bytes, i64 0
  ${size_result}
}

define i32 @${name}_init(ptr %block, ${size} %size, i32 %threads) #0 {
start:
  %no_block = icmp eq ptr %block, null
  br i1 %no_block, label %null_error, label %check_threads
check_threads:
  %needed = call ${size} @${name}_memory_size(i32 %threads)
  %bad_threads = icmp eq ${size} %needed, 0
  br i1 %bad_threads, label %threads_error, label %check_size
check_size:
  %too_small = icmp ult ${size} %size, %needed
  br i1 %too_small, label %memory_error, label %check_cpu
check_cpu:
  %runs_here = call i1 @cpu_has_level()
  br i1 %runs_here, label %fill, label %cpu_error
fill:
  call void @ask_for_large_pages(ptr %block, ${size} %needed)
  %instance = call ptr @instance(ptr %block)
  call void @llvm.memset.p0.i64(ptr align 64 %instance, i8 0, i64 ${arena}, i1 false)
  %count = zext i32 %threads to i64
  call void @store_at(ptr %instance, i64 8, i64 %count)
  %team = getelementptr i8, ptr %instance, i64 ${team}
  call void @store_at(ptr %team, i64 ${team_threads}, i64 %count)
  call void @store_at(ptr %team, i64 ${team_steps}, i64 ptrtoint (ptr @"${name}.steps" to i64))
  call void @store_at(ptr %team, i64 ${team_futex_call}, i64 ${futex_call})
  call void @store_at(ptr %team, i64 ${team_spins}, i64 ${spins})
  %bases = getelementptr i8, ptr %instance, i64 ${bases}
  %arena = getelementptr i8, ptr %instance, i64 ${arena}
  %arena_address = ptrtoint ptr %arena to i64
  call void @store_at(ptr %bases, i64 0, i64 %arena_address)
  call void @store_at(ptr %bases, i64 8, i64 ptrtoint (ptr @"${name}.weights" to i64))
  %team_address = ptrtoint ptr %team to i64
  %bases_address = ptrtoint ptr %bases to i64
  %first_scratch = call ptr @worker_of(ptr %instance, i32 %threads)
  %scratch_start = ptrtoint ptr %first_scratch to i64
  br label %next_worker
next_worker:
  %index = phi i32 [0, %fill], [%following, %next_worker]
  %wide = zext i32 %index to i64
  %scratch_offset = mul i64 %wide, ${scratch_bytes}
  %scratch = add i64 %scratch_start, %scratch_offset
  %worker = call ptr @worker_of(ptr %instance, i32 %index)
  call void @store_at(ptr %worker, i64 ${worker_team}, i64 %team_address)
  call void @store_at(ptr %worker, i64 ${worker_bases}, i64 %bases_address)
  call void @store_at(ptr %worker, i64 ${worker_scratch}, i64 %scratch)
  call void @store_at(ptr %worker, i64 ${worker_index}, i64 %wide)
  call void @store_at(ptr %worker, i64 ${worker_threads}, i64 %count)
  call void @store_at(ptr %worker, i64 ${worker_epoch}, i64 0)
  call void @store_at(ptr %worker, i64 ${worker_taken}, i64 0)
  %following = add i32 %index, 1
  %more = icmp ult i32 %following, %threads
  br i1 %more, label %next_worker, label %ready
ready:
  store i64 ${magic}, ptr %instance, align 8
  ret i32 0
null_error:
  ret i32 ${null_error}
threads_error:
  ret i32 ${threads_error}
memory_error:
  ret i32 ${memory_error}
cpu_error:
  ret i32 ${cpu_error}
}

define i32 @${name}_run(ptr %block, ptr %inputs, ptr %outputs) #0 {
start:
  %no_block = icmp eq ptr %block, null
  br i1 %no_block, label %null_error, label %check_state
check_state:
  %instance = call ptr @instance(ptr %block)
  %ready = call i1 @is_ready(ptr %instance)
  br i1 %ready, label %bind_inputs, label %state_error
bind_inputs:
  %input_bases = getelementptr i8, ptr %instance, i64 ${input_bases}
  %has_inputs = call i1 @bind(ptr %input_bases, ptr %inputs, i64 ${input_count})
  br i1 %has_inputs, label %bind_outputs, label %null_error
bind_outputs:
  %output_bases = getelementptr i8, ptr %instance, i64 ${output_bases}
  %has_outputs = call i1 @bind(ptr %output_bases, ptr %outputs, i64 ${output_count})
  br i1 %has_outputs, label %run, label %null_error
run:
  %team = getelementptr i8, ptr %instance, i64 ${team}
  call void @store_at(ptr %team, i64 ${team_first}, i64 0)
  call void @store_at(ptr %team, i64 ${team_last}, i64 ${step_count})
  %worker = call ptr @worker_of(ptr %instance, i32 0)
  call ptr @${run_tape}(ptr %team, ptr %worker)
  ret i32 0
null_error:
  ret i32 ${null_error}
state_error:
  ret i32 ${state_error}
}

define i32 @${name}_work(ptr %block, i32 %index) #0 {
start:
  %no_block = icmp eq ptr %block, null
  br i1 %no_block, label %null_error, label %check_state
check_state:
  %instance = call ptr @instance(ptr %block)
  %ready = call i1 @is_ready(ptr %instance)
  br i1 %ready, label %check_index, label %state_error
check_index:
  %threads_at = getelementptr i8, ptr %instance, i64 8
  %threads = load i64, ptr %threads_at, align 8
  %wide = zext i32 %index to i64
  %above = icmp sgt i32 %index, 0
  %below = icmp ult i64 %wide, %threads
  %good = and i1 %above, %below
  br i1 %good, label %work, label %threads_error
work:
  %team = getelementptr i8, ptr %instance, i64 ${team}
  %worker = call ptr @worker_of(ptr %instance, i32 %index)
  call ptr @${worker_loop}(ptr %team, ptr %worker)
  ret i32 0
null_error:
  ret i32 ${null_error}
threads_error:
  ret i32 ${threads_error}
state_error:
  ret i32 ${state_error}
}

define i32 @${name}_stop(ptr %block) #0 {
start:
  %no_block = icmp eq ptr %block, null
  br i1 %no_block, label %null_error, label %check_state
check_state:
  %instance = call ptr @instance(ptr %block)
  %ready = call i1 @is_ready(ptr %instance)
  br i1 %ready, label %stop, label %state_error
stop:
  store i64 0, ptr %instance, align 8
  %team = getelementptr i8, ptr %instance, i64 ${team}
  call void @store_at(ptr %team, i64 ${team_first}, i64 0)
  call void @store_at(ptr %team, i64 ${team_last}, i64 0)
  call void @store_at(ptr %team, i64 ${team_stop}, i64 1)
  %worker = call ptr @worker_of(ptr %instance, i32 0)
  call ptr @${run_tape}(ptr %team, ptr %worker)
  ret i32 0
null_error:
  ret i32 ${null_error}
state_error:
  ret i32 ${state_error}
}

attributes #0 = { nounwind ${base_cpu} }
