package lzma

import "encoding/binary"

// How many of a target's bytes the opcodes seen just before leave in doubt,
// and whether the filter converted such a target at all. The index has one bit
// for each of the last three bytes that looked like an opcode.
var (
	doubtful  = [8]int{0, 1, 2, 2, 3, 3, 3, 3}
	converted = [8]bool{true, true, true, false, true}
)

// DecodeX86 undoes in place the filter that makes the targets of near calls
// and jumps absolute before compression (7-Zip's BCJ, which edk2's
// LzmaCustomDecompressLib uses with a start address of zero).
func DecodeX86(b []byte) {
	mask, last := 0, -4
	for at := 0; at+5 <= len(b); {
		if b[at]&0xfe != 0xe8 {
			at++
			continue
		}
		if gap := at - last; gap > 3 {
			mask = 0
		} else {
			mask = mask << (gap - 1) & 7
		}
		last = at
		known := mask == 0 || converted[mask] && !signByte(b[at+4-doubtful[mask]])
		if !known || !signByte(b[at+4]) {
			mask = mask<<1&7 | 1
			at++
			continue
		}
		makeRelative(b[at+1:at+5], uint32(at)+5, 8*doubtful[mask])
		at += 5
	}
}

// signByte reports whether a byte can be the top byte of a near target.
func signByte(c byte) bool { return c == 0 || c == 0xff }

func makeRelative(target []byte, next uint32, doubt int) {
	src := binary.LittleEndian.Uint32(target)
	dst := src - next
	for range 4 { // twice at most in what the filter wrote
		if doubt == 0 || !signByte(byte(dst>>(24-doubt))) {
			break
		}
		src = dst ^ (1<<(32-doubt) - 1)
		dst = src - next
	}
	if dst &= 1<<25 - 1; dst&(1<<24) != 0 { // a 25-bit number with its sign
		dst |= 0xff << 24
	}
	binary.LittleEndian.PutUint32(target, dst)
}
