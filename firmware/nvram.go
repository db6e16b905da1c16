package firmware

import "encoding/binary"

const (
	storeHeader = 28 // VARIABLE_STORE_HEADER
	workHeader  = 32 // EFI_FAULT_TOLERANT_WORKING_BLOCK_HEADER
	workAlign   = 0x1000
)

// variableStore cuts a volume of variables the way edk2 lays it out: the
// store, room for a log, the fault-tolerant writer's work block, and the spare
// area that takes a copy of the store. Only what the firmware writes at run
// time is volatile; without a recognised structure nothing is.
func (w *walker) variableStore(v volume, end int) {
	b := w.data[w.pos:end]
	if len(b) < storeHeader {
		w.add(v.path+"/body", Unknown, end)
		return
	}
	size := int64(binary.LittleEndian.Uint32(b[16:]))
	if g := guidAt(b); (g != guidVariables && g != guidAuthVariables) || size < storeHeader || size > int64(len(b)) {
		w.add(v.path+"/body", Unknown, end)
		return
	}
	stop := w.pos + int(size)
	w.add(v.path+"/store/header", Header, w.pos+storeHeader)
	w.add(v.path+"/store", Volatile, stop)
	work, length, ok := w.workBlock(v, stop, end)
	if !ok {
		w.gap(v.path+"/store", end)
		return
	}
	w.gap(v.path+"/store", work)
	w.add(v.path+"/ftw", Volatile, work+length)
	w.add(v.path+"/spare", Volatile, end)
}

// workBlock finds the fault-tolerant writer's block on a block boundary.
func (w *walker) workBlock(v volume, from, end int) (at, length int, ok bool) {
	for at := v.start + (from-v.start+workAlign-1)&^(workAlign-1); at+workHeader <= end; at += workAlign {
		if guidAt(w.data[at:]) != guidWorkBlock {
			continue
		}
		queue := binary.LittleEndian.Uint64(w.data[at+24:])
		if queue > uint64(end-at-workHeader) {
			return 0, 0, false
		}
		return at, workHeader + int(queue), true
	}
	return 0, 0, false
}
