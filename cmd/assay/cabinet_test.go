package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
)

// writeCabinet writes a cabinet that stores one file: cabinet OUT NAME FILE.
func writeCabinet() {
	data, err := os.ReadFile(os.Args[3])
	if err == nil {
		err = os.WriteFile(os.Args[1], cabinet(os.Args[2], data), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cabinet(name string, data []byte) []byte {
	const header, folder, file, most = 36, 8, 16, 0x8000
	list := append(make([]byte, file), name+"\x00"...)
	binary.LittleEndian.PutUint32(list, uint32(len(data)))
	var blocks []byte
	n := 0
	for c := range slices.Chunk(data, most) {
		h := make([]byte, 8)
		binary.LittleEndian.PutUint16(h[4:], uint16(len(c)))
		binary.LittleEndian.PutUint16(h[6:], uint16(len(c)))
		blocks = append(append(blocks, h...), c...)
		n++
	}
	b := make([]byte, header+folder)
	copy(b, "MSCF")
	b[16], b[24], b[25], b[26], b[28] = header+folder, 3, 1, 1, 1
	binary.LittleEndian.PutUint32(b[header:], uint32(len(b)+len(list)))
	binary.LittleEndian.PutUint16(b[header+4:], uint16(n))
	b = slices.Concat(b, list, blocks)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}
