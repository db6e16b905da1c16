package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

const (
	static = "synthetic-openbmc-static-32M.static.mtd.xz"
	evil   = "synthetic-openbmc-static-32M.evil.mtd.xz"
	rwfs   = 0x1c00000
)

// One bit of the boot loader, and a payload in the room behind a file system.
func TestTamperedFlashIsNamedByPlace(t *testing.T) {
	good, bad := recorded(t, static), recorded(t, evil)
	c := firmware.Match(references(good), []*firmware.Image{parse(bad)}, nil)
	require.Empty(t, c.NotChecked)
	places := map[string][2]int64{}
	for _, f := range c.Findings {
		require.Equal(t, finding.BMCFirmwareDiffers, f.Code)
		places[f.Subject] = [2]int64{f.Basis[0].Offset, f.Basis[0].Length}
	}
	require.Equal(t, map[string][2]int64{"firmware:bmc/image/start+gap": {0, 0x60000}, "firmware:bmc/image/squashfs+gap": {0x4c53a6, 0x1c00000 - 0x4c53a6}}, places)
	var changed []string
	for _, d := range firmware.Diff(parse(good), parse(bad)) {
		changed = append(changed, fmt.Sprintf("%s %s at 0x%x", d.Change, d.Path, *d.First))
	}
	require.Equal(t, []string{"changed image/squashfs+gap at 0x1b00000", "changed image/start+gap at 0x1234"}, changed)
	require.Empty(t, told(t, references(good), good))
}

// The overlay gives root an empty password: the file is listed by its path, and
// a unit whose overlay has none does not match.
func TestAccountInTheWritableFileSystem(t *testing.T) {
	good := recorded(t, static)
	l := leaf(t, parse(good), "image/rwfs/etc/passwd")
	require.True(t, strings.HasPrefix(string(l.Content()), "root::0:0:"))
	require.Equal(t, "persistent file", l.Type)
	clean := bytes.Clone(good)
	for i := range clean[rwfs:] {
		clean[rwfs+i] = 0xff
	}
	require.Equal(t, []string{"FW-012 image/rwfs/etc/passwd"}, told(t, references(clean), good))
	require.Empty(t, told(t, references(good), clean), "a reset to defaults")
}

// versions cuts off which version of a file is meant.
func versions(told []string) []string {
	for i, s := range told {
		if at := strings.LastIndexByte(s, '~'); at >= 0 {
			told[i] = s[:at+1]
		}
	}
	return told
}

func leaf(t *testing.T, m *firmware.Image, path string) firmware.Leaf {
	t.Helper()
	var found *firmware.Leaf
	var walk func([]firmware.Leaf)
	walk = func(ls []firmware.Leaf) {
		for _, l := range ls {
			if l.Path == path {
				found = &l
			}
			walk(l.Inside)
		}
	}
	walk(m.Open())
	require.NotNil(t, found, path)
	return *found
}

// jffs2 writes nodes of little-endian order.
type jffs2Writer struct {
	b       []byte
	version uint32
	folders map[string]uint32
}

func (w *jffs2Writer) node(kind uint16, body []byte, seal func([]byte)) {
	sum := func(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }
	le := binary.LittleEndian
	h := le.AppendUint16(le.AppendUint16(nil, 0x1985), kind)
	h = le.AppendUint32(h, uint32(12+len(body)))
	h = append(le.AppendUint32(h, sum(h)), body...)
	seal(h)
	w.b = append(w.b, h...)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0xff)
	}
}

func (w *jffs2Writer) file(parent, number uint32, name string, mode uint32, data string) {
	sum := func(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }
	le := binary.LittleEndian
	w.version += 10000 // newer than all in the image
	d := make([]byte, 28, 28+len(name))
	le.PutUint32(d, parent)
	le.PutUint32(d[4:], w.version)
	le.PutUint32(d[8:], number)
	d[16] = byte(len(name))
	w.node(0xe001, append(d, name...), func(b []byte) {
		le.PutUint32(b[32:], sum(b[:32]))
		le.PutUint32(b[36:], sum(b[40:]))
	})
	if number == 0 {
		return
	}
	n := make([]byte, 56, 56+len(data))
	le.PutUint32(n, number)
	le.PutUint32(n[4:], w.version)
	le.PutUint32(n[8:], mode)
	le.PutUint32(n[16:], uint32(len(data)))
	le.PutUint32(n[36:], uint32(len(data)))
	le.PutUint32(n[40:], uint32(len(data)))
	w.node(0xe002, append(n, data...), func(b []byte) {
		le.PutUint32(b[60:], sum(b[68:]))
		le.PutUint32(b[64:], sum(b[:60]))
	})
}

// flash is one of OpenBMC with the tree in both file systems; in the writable
// one the tree is the upper directory of an overlay that changes nothing.
func flash(t *testing.T, nodes []byte) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xff}, 32<<20)
	copy(b, "boot loader")
	copy(b[0x60000:], append(made(t, "env.bin"), make([]byte, 0x10000)...))
	copy(b[0x80000:], made(t, "fit.itb"))
	copy(b[0x4c0000:], made(t, "zstd.squashfs"))
	w := &jffs2Writer{}
	for i, dir := range []string{"etc", "log", "home"} {
		w.file(1, uint32(2+i), dir, 0o40755, "")
	}
	w.file(2, 10, "hostname", 0o100644, "bmc")
	w.file(2, 11, "passwd", 0o100644, "root:x:0:0::/:/bin/sh\n")
	w.file(3, 12, "messages", 0o100644, "started\n")
	copy(b[rwfs:], append(w.b, nodes...))
	return b
}

// What a controller does in operation is no alarm, what lets someone in is.
func TestWhatMayChangeInAWritableFileSystem(t *testing.T) {
	refs := references(flash(t, nil))
	for what, c := range map[string]struct {
		parent uint32
		name   string
		mode   uint32
		data   string
		want   []string
	}{
		"the same":                    {2, "hostname", 0o100644, "bmc", nil},
		"a setting":                   {2, "hostname", 0o100644, "other", nil},
		"a log":                       {3, "messages", 0o100644, "started\nstopped\n", nil},
		"a new log":                   {3, "audit", 0o100600, "login\n", nil},
		"a key of the host":           {2, "ssh_host_ed25519_key", 0o100600, "key", nil},
		"an account":                  {2, "passwd", 0o100644, "root::0:0::/:/bin/sh\n", []string{"FW-012 image/rwfs/etc/passwd"}},
		"a key that lets someone in":  {4, "authorized_keys", 0o100600, "ssh-ed25519 AAAA", []string{"FW-012 image/rwfs/home/authorized_keys"}},
		"a program":                   {3, "messages.1", 0o100644, "\x7fELF implant", []string{"FW-012 image/rwfs/log/messages.1"}},
		"a script":                    {3, "messages.2", 0o100644, "#!/bin/sh\n", []string{"FW-012 image/rwfs/log/messages.2"}},
		"the mode of a program":       {3, "messages", 0o100755, "started\n", []string{"FW-012 image/rwfs/log/messages"}},
		"a file of the read-only one": {2, "empty", 0o100644, "no more", []string{"FW-012 image/rwfs/etc/empty"}},
		"what root does at login":     {4, ".profile", 0o120777, "/tmp/x", []string{"FW-012 image/rwfs/home/.profile"}},
		"a link to a log":             {3, "latest", 0o120777, "messages", nil},
		"a device":                    {3, "mem", 0o20600, "\x01\x01", []string{"FW-012 image/rwfs/log/mem"}},
	} {
		w := &jffs2Writer{version: 1 << 20}
		w.file(c.parent, 50, c.name, c.mode, c.data)
		require.ElementsMatch(t, c.want, told(t, refs, flash(t, w.b)), what)
	}
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 0, "passwd", 0, "")
	require.Empty(t, told(t, refs, flash(t, w.b)), "a file that was removed")
}

// Units of one firmware with other accounts are alternatives, and an account is
// not another firmware behind the same version.
func TestUnitsWithTheirOwnAccounts(t *testing.T) {
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "other:x:0:0::/:/bin/sh\n")
	one, two := flash(t, nil), flash(t, w.b)
	refs := firmware.DraftReferences(map[string]string{"bmc": "1.0"}, []*firmware.Image{parse(one)}, []*firmware.Image{parse(two)}, []*firmware.Image{parse(one)})
	require.Len(t, refs, 2)
	require.Empty(t, told(t, refs, one))
	require.Empty(t, told(t, refs, two))
	c := firmware.Match(refs[:1], []*firmware.Image{parse(two)}, map[string]string{"bmc": "1.0"})
	require.Len(t, c.Findings, 1)
	require.Equal(t, finding.BMCFirmwareDiffers, c.Findings[0].Code)
	one[5] ^= 1
	c = firmware.Match(refs, []*firmware.Image{parse(one)}, map[string]string{"bmc": "1.0"})
	require.Len(t, c.Findings, 2)
}

func TestEnvironmentOfTheBootLoader(t *testing.T) {
	good := flash(t, nil)
	env := func(from, to string) []byte {
		b := bytes.Clone(good)
		e := b[0x60000:0x70000]
		copy(e, bytes.Replace(e, []byte(from), []byte(to), 1))
		binary.LittleEndian.PutUint32(e, crc32.ChecksumIEEE(e[4:]))
		return b
	}
	require.Empty(t, told(t, references(good), env("00:11:22", "00:11:33")), "a setting")
	require.Equal(t, []string{"FW-012 image/env/bootargs"}, told(t, references(good), env("root=/dev/ram rw", "root=/dev/nfs rw")))
	second := bytes.Clone(good)
	copy(second[0x70000:], second[0x60000:0x70000])
	require.Empty(t, told(t, references(good), second), "saved to the other copy")
	e := second[0x70000:0x80000]
	copy(e, bytes.Replace(e, []byte("bootm"), []byte("bootx"), 1))
	binary.LittleEndian.PutUint32(e, crc32.ChecksumIEEE(e[4:]))
	require.Equal(t, []string{"FW-012 image/env/bootcmd~"}, versions(told(t, references(good), second)), "the copy that is not the first")
	require.Equal(t, []string{"FW-012 image/env/preboot"}, told(t, references(good), env("ethaddr=", "preboot=")))
}

// Blocks of UBI move. What its volumes hold does not.
func TestVolumesAreComparedWhereverTheirBlocksLie(t *testing.T) {
	const block = 64 << 10
	good := made(t, "image.ubi")
	refs := references(good)
	require.Empty(t, told(t, refs, good))
	moved := bytes.Clone(good)
	for i := 2 * block; i+2*block <= len(moved); i += 2 * block {
		a := bytes.Clone(moved[i : i+block])
		copy(moved[i:], moved[i+block:i+2*block])
		copy(moved[i+block:], a)
	}
	require.Empty(t, told(t, refs, moved))

	at := bytes.Index(good, []byte("verify leaf")) // in the kernel
	bad := bytes.Clone(good)
	bad[at] ^= 1
	require.Subset(t, told(t, refs, bad), []string{"FW-012 image/ubi/kernel/kernel-1"})

	free := len(good) - block // a block without volume
	bad = append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, block)...)
	copy(bad[len(good):], good[free:free+64])
	refs = references(bad)
	copy(bad[len(good)+0x3000:], "payload")
	require.Equal(t, []string{"FW-012 image/ubi/unused"}, told(t, refs, bad))
}

// A program in the writable volume, in a journal that no commit has seen.
func TestProgramInTheJournalOfUBIFS(t *testing.T) {
	good := made(t, "image.ubi")
	le := binary.LittleEndian
	node := func(kind byte, body []byte) []byte {
		b := append(make([]byte, 24), body...)
		le.PutUint32(b, 0x06101831)
		le.PutUint64(b[8:], 1<<40)
		le.PutUint32(b[16:], uint32(len(b)))
		b[20] = kind
		le.PutUint32(b[4:], ^crc32.ChecksumIEEE(b[8:]))
		for len(b)%8 != 0 {
			b = append(b, 0xff)
		}
		return b
	}
	add := func(name string, mode uint32) []byte {
		entry := make([]byte, 32)
		le.PutUint32(entry, 1)
		le.PutUint64(entry[16:], 5000)
		le.PutUint16(entry[26:], uint16(len(name)))
		inode := make([]byte, 136)
		le.PutUint32(inode, 5000)
		le.PutUint64(inode[24:], 4)
		le.PutUint32(inode[80:], mode)
		data := make([]byte, 24)
		le.PutUint32(data, 5000)
		le.PutUint32(data[4:], 1<<29)
		le.PutUint32(data[16:], 4)
		return slices.Concat(node(2, append(entry, name...)), node(0, inode), node(1, append(data, "evil"...)))
	}
	// the last block of the volume, behind its last node
	room := bytes.LastIndex(good, []byte{0x31, 0x18, 0x10, 0x06})
	room += int(le.Uint32(good[room+16:])+7) &^ 7
	for name, c := range map[string]struct {
		mode uint32
		want []string
	}{"hostname": {0o100644, nil}, "run": {0o100755, []string{"FW-012 image/ubi/rwfs/run"}}} {
		b := bytes.Clone(good)
		copy(b[room:], add(name, c.mode))
		leaf(t, parse(b), "image/ubi/rwfs/"+name)
		require.ElementsMatch(t, c.want, told(t, references(good), b))
	}
}

// A program that cannot look says so, and one that can reports what nobody can
// read.
func TestWritablePartsThatCannotBeOpened(t *testing.T) {
	good := flash(t, nil)
	c := firmware.Match(references(good), []*firmware.Image{firmware.Parse("bmc", good)}, nil)
	require.Empty(t, c.Findings)
	require.Len(t, c.NotChecked, 2)
	require.Equal(t, 2, c.Coverage[0].Unopened)
	require.Equal(t, "firmware:bmc/image/env", c.NotChecked[0].What)
	require.Equal(t, "firmware:bmc/image/rwfs", c.NotChecked[1].What)
	garbled := bytes.Clone(good)
	copy(garbled[rwfs:], bytes.Repeat([]byte("garbled "), 1<<10))
	c = firmware.Match(references(good), []*firmware.Image{parse(garbled)}, nil)
	require.Len(t, c.NotChecked, 1)
	require.Contains(t, c.NotChecked[0].Reason, "not understood")
	require.Equal(t, 1, c.Coverage[0].Unopened)
	require.Len(t, c.Findings, 1)
	require.Equal(t, finding.BMCFirmwareDiffers, c.Findings[0].Code)
	require.Equal(t, finding.High, c.Findings[0].Severity)
	fresh := flash(t, nil)
	for i := range fresh[rwfs:] {
		fresh[rwfs+i] = 0xff
	}
	c = firmware.Match(references(fresh), []*firmware.Image{parse(garbled)}, nil)
	require.Len(t, c.Findings, 1, "it was erased when it was drafted")
	c = firmware.Match(references(garbled), []*firmware.Image{parse(garbled)}, nil)
	require.Empty(t, c.Findings, "it could not be opened then either")
	require.Equal(t, 1, c.Coverage[0].Unopened)
}

// A file of a read-only file system that changed is named, and its listing only
// when nothing else says it.
func TestChangedFilesAndModes(t *testing.T) {
	with := func(squash []byte) []byte {
		b := flash(t, nil)
		for i := range b[0x4c0000:rwfs] {
			b[0x4c0000+i] = 0xff
		}
		copy(b[0x4c0000:], squash)
		return b
	}
	plain := made(t, "plain.squashfs")
	refs := references(with(plain))
	bad := bytes.Clone(plain)
	at := bytes.Index(bad, []byte("verify leaf"))
	bad[at] ^= 1
	require.Equal(t, []string{"FW-012 image/squashfs/usr/bin/daemon", "FW-012 image/squashfs/usr/bin/other"}, told(t, refs, with(bad)))
	bad = bytes.Clone(plain)
	at = bytes.LastIndex(bad, []byte{9, 0, 0xed, 0x09}) // the inode of a file of mode 4755 with two names
	bad[at+3] ^= 0x08
	require.Equal(t, []string{"FW-012 image/squashfs/listing"}, told(t, refs, with(bad)))
	require.Empty(t, told(t, refs, with(plain)))
	bad = bytes.Clone(plain)
	bad[8] ^= 1 // the time in the superblock belongs to no file
	require.Equal(t, []string{"FW-012 image/squashfs/squashfs"}, told(t, refs, with(bad)))
}
