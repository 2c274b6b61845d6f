; Asks Linux to back a block by large pages as far as it holds whole ones: touching it first takes a tenth of the time.
; Addresses are rounded to the largest pages that a kernel counts in. What the system answers does not matter.
declare ${size} @syscall(${size}, ${size}, ${size}, ${size}, ${size}, ${size}, ${size})

define internal void @ask_for_large_pages(ptr %block, ${size} %bytes) #0 {
  %start = ptrtoint ptr %block to ${size}
  %above = add ${size} %start, 65535
  %first = and ${size} %above, -65536
  %end = add ${size} %start, %bytes
  %last = and ${size} %end, -65536
  %length = sub ${size} %last, %first
  call ${size} @syscall(${size} ${madvise}, ${size} %first, ${size} %length, ${size} ${huge_page}, ${size} 0, ${size} 0, ${size} 0)
  ret void
}
