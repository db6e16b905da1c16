package unpack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// implant is a start script and an account without password, written over what
// is there.
func implant(t *testing.T) []byte {
	t.Helper()
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 51, "rc.local", 0o100755, "#!/bin/sh\nevil\n")
	w.file(2, 11, "passwd", 0o100644, "root::0:0::/:/bin/sh\n")
	return flash(t, w.b)
}

// What lies in the first block of a writable range hides nothing behind it.
func TestForeignBytesBeforeAFileSystem(t *testing.T) {
	const block = 64 << 10
	evil := implant(t)
	refs := references(flash(t, nil))
	named := []string{"FW-012 image/rwfs/etc/passwd", "FW-012 image/rwfs/etc/rc.local"}
	require.ElementsMatch(t, named, told(t, refs, evil))
	body := bytes.Clone(evil[rwfs : rwfs+0x100000])
	with := func(first []byte) []byte {
		b := bytes.Clone(evil)
		copy(b[rwfs:], append(bytes.Clone(first), bytes.Repeat([]byte{0xff}, block-len(first))...))
		copy(b[rwfs+block:], body)
		return b
	}
	require.ElementsMatch(t, named, told(t, refs, with(bytes.Repeat([]byte{0x55}, block))), "bytes of nothing")
	honest := flash(t, nil)
	body = bytes.Clone(honest[rwfs : rwfs+0x100000])
	require.Empty(t, told(t, refs, with(bytes.Repeat([]byte{0x55}, block))), "an erasure that was cut off")
	body = bytes.Clone(evil[rwfs : rwfs+0x100000])
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "log", Mode: 0o644, Size: 1, Format: tar.FormatUSTAR}))
	_, err := w.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for what, first := range map[string][]byte{"a tar": b.Bytes(), "an environment": made(t, "env.bin")} {
		c := firmware.Match(refs, []*firmware.Image{parse(with(first))}, nil)
		require.Len(t, c.NotChecked, 1, what)
		require.Equal(t, 1, c.Coverage[0].Unopened, what)
		require.Len(t, c.Findings, 1, what)
		require.Equal(t, finding.BMCFirmwareDiffers, c.Findings[0].Code, what)
		require.Equal(t, "firmware:bmc/image/rwfs", c.Findings[0].Subject, what)
	}
}

// One node that a kernel passes over must not hide what it does not.
func TestNodesThatMaskFiles(t *testing.T) {
	refs := references(flash(t, nil))
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 51, "rc.local", 0o100755, "#!/bin/sh\nevil\n")
	require.Equal(t, []string{"FW-012 image/rwfs/etc/rc.local"}, told(t, refs, flash(t, w.b)))
	masked := func(name string, write func(*jffs2Writer)) []byte {
		b := flash(t, w.b)
		m := &jffs2Writer{version: 1 << 28}
		write(m)
		copy(b[rwfs+0x200000+0x1000:], m.b) // in a block that begins with ones: free for a kernel
		require.NotEmpty(t, m.b, name)
		return b
	}
	for what, write := range map[string]func(*jffs2Writer){
		"removed":     func(m *jffs2Writer) { m.file(2, 0, "rc.local", 0, "") },
		"overwritten": func(m *jffs2Writer) { m.file(2, 51, "rc.local", 0o100644, "") },
		"a log":       func(m *jffs2Writer) { m.file(2, 12, "rc.local", 0o100644, "started\n") },
		"no inode":    func(m *jffs2Writer) { m.file(2, 0, "rc.local", 0, ""); m.file(1, 0, "etc", 0, "") },
		"elsewhere":   func(m *jffs2Writer) { m.file(2, 0, "rc.local", 0, ""); m.file(3, 51, "rc", 0o100644, "x") },
	} {
		require.Contains(t, versions(told(t, refs, masked(what, write))), "FW-012 image/rwfs/etc/rc.local~", what)
	}
	w = &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "root::0:0::/:/bin/sh\n")
	require.Equal(t, []string{"FW-012 image/rwfs/etc/passwd~"}, versions(told(t, refs, masked("account", func(m *jffs2Writer) {
		m.file(2, 11, "passwd", 0o100644, "root:x:0:0::/:/bin/sh\n")
	}))))
}

// What a flash keeps of the past, and loses when blocks are needed, is no news.
func TestOlderVersionsOfAnHonestFlash(t *testing.T) {
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "admin:x:0:0::/:/bin/sh\n")
	w.file(2, 60, "fan.conf", 0o100644, "50%")
	w.file(2, 60, "fan.conf", 0o100644, "60%")
	w.file(2, 61, "old.conf", 0o100644, "x")
	w.file(2, 0, "old.conf", 0, "")
	before := flash(t, w.b)
	refs := references(before)
	require.Empty(t, told(t, refs, before))
	c := &jffs2Writer{version: 1 << 21} // all that is shown, collected in one block; the rest is gone
	for i, dir := range []string{"etc", "log", "home"} {
		c.file(1, uint32(2+i), dir, 0o40755, "")
	}
	c.file(2, 11, "passwd", 0o100644, "admin:x:0:0::/:/bin/sh\n")
	c.file(2, 60, "fan.conf", 0o100644, "60%")
	c.file(2, 10, "hostname", 0o100644, "bmc")
	after := flash(t, nil)
	for i := range after[rwfs:] {
		after[rwfs+i] = 0xff
	}
	copy(after[rwfs:], c.b)
	require.Empty(t, told(t, refs, after), "garbage was collected")
	again := bytes.Clone(before)
	copy(again[rwfs+0x100000:], c.b)
	require.Empty(t, told(t, refs, again), "garbage was copied, and not erased yet")
	c.file(2, 0, ".#hostname0123456789abcdef", 0, "")
	c.file(2, 70, ".#hostname0123456789abcdef", 0o100600, "another")
	c.file(2, 70, "hostname", 0o100644, "another")
	c.file(2, 0, ".#hostname0123456789abcdef", 0, "")
	c.file(2, 71, "fan.conf.Ab3dE9", 0o100600, "60%")
	c.file(2, 71, "fan.conf", 0o100644, "60%")
	c.file(2, 0, "fan.conf.Ab3dE9", 0, "")
	copy(again[rwfs+0x100000:], c.b)
	require.Empty(t, told(t, refs, again), "files that were written anew, under another name first")
	require.Contains(t, told(t, references(flash(t, nil)), before), "FW-012 image/rwfs/etc/passwd", "the draft had another account")

	// units that differ in their past alone are one reference
	one, two := flash(t, nil), flash(t, nil)
	p := &jffs2Writer{version: 1 << 20}
	p.file(2, 62, "gone.conf", 0o100644, "x")
	p.file(2, 0, "gone.conf", 0, "")
	copy(two[rwfs+0x100000:], p.b)
	both := firmware.DraftReferences(nil, []*firmware.Image{parse(one)}, []*firmware.Image{parse(two)})
	require.Len(t, both, 1)
	require.Empty(t, told(t, both, one))
	require.Empty(t, told(t, both, two))
}

// broken is a node whose compression nobody knows.
func (w *jffs2Writer) broken(number, version, mode uint32) {
	le := binary.LittleEndian
	sum := func(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }
	n := make([]byte, 56, 60)
	le.PutUint32(n, number)
	le.PutUint32(n[4:], version)
	le.PutUint32(n[8:], mode)
	le.PutUint32(n[16:], 1)
	le.PutUint32(n[36:], 1)
	le.PutUint32(n[40:], 1)
	n[44] = 99
	w.node(0xe002, append(n, 'x'), func(b []byte) {
		le.PutUint32(b[60:], sum(b[68:]))
		le.PutUint32(b[64:], sum(b[:60]))
	})
}

// A file that cannot be read is compared as it is stored.
func TestFilesThatCannotBeRead(t *testing.T) {
	refs := references(flash(t, nil))
	w := &jffs2Writer{version: 1 << 20}
	w.broken(51, 1, 0o100755)
	w.file(2, 51, "rc.local", 0o100755, "#!/bin/sh\nevil\n")
	require.Contains(t, told(t, refs, flash(t, w.b)), "FW-012 image/rwfs/etc/rc.local", "an old node that newer ones lie over")
	for name, parent := range map[string]uint32{"etc/rc.local": 2, "log/run": 3, "etc/passwd": 2} {
		w = &jffs2Writer{version: 1 << 20}
		mode := uint32(0o100755)
		if name == "etc/passwd" {
			mode = 0o100644
		}
		w.file(parent, 51, name[strings.IndexByte(name, '/')+1:], mode, "x")
		w.broken(51, 1<<28, mode)
		require.Contains(t, told(t, refs, flash(t, w.b)), "FW-012 image/rwfs/"+name)
		require.Empty(t, told(t, references(flash(t, w.b)), flash(t, w.b)))
	}
	w = &jffs2Writer{version: 1 << 20}
	w.file(3, 51, "journal", 0o100644, "x")
	w.broken(51, 1<<28, 0o100644)
	require.Empty(t, told(t, refs, flash(t, w.b)), "a log")
}

// environment is a flash with these variables, in the first copy alone.
func environment(t *testing.T, text string) []byte {
	t.Helper()
	b := flash(t, nil)
	clear(b[0x60000:0x80000])
	save(b[0x60000:0x70000], text)
	return b
}

func save(e []byte, text string) {
	clear(e)
	copy(e[4:], text+"\x00")
	binary.LittleEndian.PutUint32(e, crc32.ChecksumIEEE(e[4:]))
}

func TestVariablesThatBootingComesTo(t *testing.T) {
	const usual = "bootcmd=run bootspi\x00bootspi=bootm 20080000\x00bootargs=root=/dev/ram rw\x00ethaddr=00:11:22:33:44:55\x00other=1\x00"
	refs := references(environment(t, usual))
	for what, c := range map[string]struct {
		text string
		want []string
	}{
		"the same":             {usual, nil},
		"an address":           {strings.Replace(usual, "44:55", "44:66", 1), nil},
		"counters":             {usual + "bootcount=3\x00upgrade_available=1\x00serial#=7\x00", nil},
		"what bootcmd runs":    {strings.Replace(usual, "bootm 20", "tftp evil; bootm 83", 1), []string{"bootspi"}},
		"a variable that runs": {usual + "x=echo\x00", []string{"x"}},
		"removed":              {strings.Replace(usual, "bootcmd=run bootspi\x00", "", 1), []string{"bootcmd"}},
		"arguments removed":    {strings.Replace(usual, "bootargs=root=/dev/ram rw\x00", "", 1), []string{"bootargs"}},
		"what is run, removed": {strings.Replace(usual, "bootspi=bootm 20080000\x00", "", 1), []string{"bootspi"}},
		"another one removed":  {strings.Replace(usual, "other=1\x00", "", 1), nil},
		"emptied":              {strings.Replace(usual, "=run bootspi", "=", 1), []string{"bootcmd"}},
	} {
		want := []string{}
		for _, n := range c.want {
			want = append(want, "FW-012 image/env/"+n)
		}
		require.ElementsMatch(t, want, told(t, refs, environment(t, c.text)), what)
	}
	erased := environment(t, usual)
	for i := range erased[0x60000:0x80000] {
		erased[0x60000+i] = 0xff
	}
	require.Empty(t, told(t, refs, erased), "a reset to the defaults in the boot loader")
	fill := ""
	for i := range 9000 {
		fill += fmt.Sprintf("%x=\x00", i)
	}
	c := firmware.Match(refs, []*firmware.Image{parse(environment(t, fill+strings.Replace(usual, "bootm 20", "bootm 83", 1)))}, nil)
	require.Equal(t, 1, c.Coverage[0].Unopened)
	require.Equal(t, finding.BMCFirmwareDiffers, c.Findings[0].Code)
}

// Either copy of an environment may be the one that counts.
func TestCopiesOfAnEnvironment(t *testing.T) {
	good := flash(t, nil)
	copy(good[0x70000:], good[0x60000:0x70000])
	refs := references(good)
	cut := bytes.Clone(good)
	for i := range cut[0x60000:0x68000] {
		cut[0x60000+i] = 0xff
	}
	require.Empty(t, told(t, refs, cut), "the first is being written")
	cut = bytes.Clone(good)
	for i := range cut[0x70000:0x74000] {
		cut[0x70000+i] = 0xff
	}
	require.Empty(t, told(t, refs, cut), "the second is being written")
	second := bytes.Clone(good)
	e := second[0x70000:0x80000]
	copy(e, bytes.Replace(e, []byte("bootm"), []byte("bootx"), 1))
	binary.LittleEndian.PutUint32(e, crc32.ChecksumIEEE(e[4:]))
	require.Equal(t, []string{"FW-012 image/env/bootcmd~"}, versions(told(t, refs, second)))
	binary.LittleEndian.PutUint32(second[0x60000:], crc32.ChecksumIEEE(second[0x60004:0x61000])) // as if the first were shorter
	require.Equal(t, []string{"FW-012 image/env/bootcmd~"}, versions(told(t, refs, second)))
	save(e, "bootargs=console=ttyS4,115200n8 root=/dev/ram rw\x00ethaddr=00:11:22:33:44:55\x00")
	require.Equal(t, []string{"FW-012 image/env/bootcmd~"}, versions(told(t, refs, second)), "removed in one copy")
	one := environment(t, "bootcmd=one\x00ethaddr=1\x00")
	save(one[0x70000:0x80000], "bootcmd=two\x00ethaddr=2\x00")
	refs = references(one)
	two := environment(t, "bootcmd=two\x00ethaddr=3\x00")
	save(two[0x70000:0x80000], "bootcmd=two\x00ethaddr=2\x00")
	require.Empty(t, told(t, refs, two), "saved once more")
}

// path writes a file below folders that are new, but for etc, log and home.
func (w *jffs2Writer) path(p string, mode uint32, data string) {
	if w.folders == nil {
		w.folders = map[string]uint32{"": 1, "etc": 2, "log": 3, "home": 4}
	}
	in := ""
	parts := strings.Split(p, "/")
	for _, dir := range parts[:len(parts)-1] {
		below := strings.TrimPrefix(in+"/"+dir, "/")
		if w.folders[below] == 0 {
			w.folders[below] = uint32(100 + len(w.b))
			w.file(w.folders[in], w.folders[below], dir, 0o40755, "")
		}
		in = below
	}
	w.file(w.folders[in], uint32(100+len(w.b)), parts[len(parts)-1], mode, data)
}

func TestNewFilesInAWritableFileSystem(t *testing.T) {
	refs := references(flash(t, nil))
	w, want := &jffs2Writer{version: 1 << 20}, []string{}
	for _, p := range []string{
		"etc/ssh/sshd_config.d/evil.conf", "etc/fstab", "etc/network/interfaces", "etc/environment", "etc/ld.so.conf", "etc/ld.so.conf.d/x.conf", "usr/lib/udev/rules.d/9.rules",
		"lib/modprobe.d/x.conf", "usr/share/dbus-1/system-services/x.service", "usr/lib/python3.12/sitecustomize.py", "etc/systemd/system.conf", "etc/systemd/system/x.service",
		"etc/bash.bashrc", "root/.ssh/authorized_keys", "root/.bash_login", "etc/ipmi_pass", "etc/hosts.equiv", "root/.rhosts", "etc/lighttpd.conf", "etc/nslcd.conf",
		"etc/ssl/certs/authority/x.pem", "log/evil.py", "log/x.so.1", "cow/etc/shadow", "var/lib/ipmi/ipmi_user.json", "persist/etc/sudoers.d/x", "log/authorized_keys",
	} {
		w.path(p, 0o100644, "evil")
		want = append(want, "FW-012 image/rwfs/"+p)
	}
	require.ElementsMatch(t, want, told(t, refs, flash(t, w.b)))
	written := []string{
		"etc/systemd/network/00-bmc-eth0.network", "etc/machine-id", "etc/resolv.conf", "etc/localtime", "cow/etc/hostname", "persist/etc/hostname", "cow/var/log/messages", "var/log/journal/1/system.journal",
		"etc/dropbear/dropbear_rsa_host_key", "etc/ssh/ssh_host_rsa_key.pub", "lib/systemd/random-seed", "var/lib/systemd/timesync/clock", "cow/var/lib/phosphor-logging/errors/1",
		"var/lib/phosphor-settings-manager/settings/__xyz", "home/root/bmcweb_persistent_data.json", "var/configuration/system.json", "etc/.pwd.lock", "etc/.updated", "home-work/#3f",
		"BMC1/SEL.dat", "etc/ssl/certs/https/server.pem",
	}
	for what, data := range map[string]string{"written": "new", "empty": "", "a program": "\x7fELF"} {
		w, want := &jffs2Writer{version: 1 << 20}, []string{}
		for _, p := range written {
			w.path(p, 0o100644, data)
			if what == "a program" {
				want = append(want, "FW-012 image/rwfs/"+p)
			}
		}
		require.ElementsMatch(t, want, told(t, refs, flash(t, w.b)), what)
	}
}

// A link or an empty file in the place of something else is a change too.
func TestWhatStandsInThePlaceOfFiles(t *testing.T) {
	refs := references(flash(t, nil))
	for p, mode := range map[string]uint32{
		"usr": 0o120777, "etc/systemd/system": 0o120777, "usr/bin/daemon": 0o100644, "etc/shadow": 0o100644, "etc/rc.local": 0o100644, "etc/init.d/rcS": 0o20000,
	} {
		data := map[uint32]string{0o120777: "/run/initramfs/rw/cow/log", 0o20000: "\x00\x00"}[mode]
		w := &jffs2Writer{version: 1 << 20}
		if mode != 0 {
			w.path(p, mode, data)
			require.Equal(t, []string{"FW-012 image/rwfs/" + p}, told(t, refs, flash(t, w.b)), p)
		}
	}
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "")
	require.Equal(t, []string{"FW-012 image/rwfs/etc/passwd"}, told(t, refs, flash(t, w.b)), "an account file that was emptied")
	w = &jffs2Writer{version: 1 << 20}
	w.file(1, 3, "log", 0o120777, "/etc")
	require.Contains(t, told(t, refs, flash(t, w.b)), "FW-012 image/rwfs/log", "the folder of logs")
}

// What stops nobody's kernel stops no comparison.
func TestStatesThatDoNotStopTheComparison(t *testing.T) {
	refs := references(flash(t, nil))
	w := &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "root::0:0::/:/bin/sh\n")
	w.file(3, 80, "archive", 0o40755, "")
	w.file(3, 80, "archive.1", 0o40755, "") // a rename that was cut off
	require.Equal(t, []string{"FW-012 image/rwfs/etc/passwd"}, told(t, refs, flash(t, w.b)), "a folder of logs with two names")
	w.file(1, 3, "aaa", 0o40755, "")
	require.ElementsMatch(t, []string{"FW-012 image/rwfs/etc/passwd", "FW-012 image/rwfs/aaa~"}, versions(told(t, refs, flash(t, w.b))), "the folder of logs under another name")

	w = &jffs2Writer{version: 1 << 20}
	w.file(2, 11, "passwd", 0o100644, "root::0:0::/:/bin/sh\n")
	w.file(3, 71, "lastlog", 0o100644, "x")
	w.hole(71, 1<<30, 1<<29)
	require.Equal(t, []string{"FW-012 image/rwfs/etc/passwd"}, told(t, refs, flash(t, w.b)), "a sparse file")
	w.file(2, 72, "big", 0o100644, "x")
	w.hole(72, 1<<30, 1<<29)
	require.Contains(t, told(t, refs, flash(t, w.b)), "FW-012 image/rwfs/etc/big", "one that is compared")
}

func (w *jffs2Writer) hole(number, size, offset uint32) {
	le := binary.LittleEndian
	sum := func(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }
	n := make([]byte, 56, 60)
	le.PutUint32(n, number)
	w.version += 10000
	le.PutUint32(n[4:], w.version)
	le.PutUint32(n[8:], 0o100644)
	le.PutUint32(n[16:], size)
	le.PutUint32(n[32:], offset)
	le.PutUint32(n[36:], 1)
	le.PutUint32(n[40:], 1)
	w.node(0xe002, append(n, 'x'), func(b []byte) {
		le.PutUint32(b[60:], sum(b[68:]))
		le.PutUint32(b[64:], sum(b[:60]))
	})
}

func ubifsNode(kind byte, seq uint64, body []byte) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 24), body...)
	le.PutUint32(b, 0x06101831)
	le.PutUint64(b[8:], seq)
	le.PutUint32(b[16:], uint32(len(b)))
	b[20] = kind
	le.PutUint32(b[4:], ^crc32.ChecksumIEEE(b[8:]))
	for len(b)%8 != 0 {
		b = append(b, 0xff)
	}
	return b
}

// A kernel replays the blocks that its log names, and no others.
func TestNodesOfUBIFSThatMaskFiles(t *testing.T) {
	good := made(t, "image.ubi")
	le := binary.LittleEndian
	var parent uint32
	last := 0
	for at := 0; at+64 < len(good); at += 8 {
		if le.Uint32(good[at:]) != 0x06101831 {
			continue
		}
		last = at
		if good[at+20] == 2 && string(good[at+56:at+59]) == "rcS" {
			parent = le.Uint32(good[at+24:])
		}
	}
	require.NotZero(t, parent)
	refs := references(good)
	require.Empty(t, told(t, refs, good))
	for i := range refs[0].Leaves { // as if it had come later
		in := refs[0].Leaves[i].Inside
		for j := range in {
			if in[j].Path == "image/ubi/rwfs/etc/init.d/rcS" {
				refs[0].Leaves[i].Inside = append(append([]firmware.Leaf{}, in[:j]...), in[j+1:]...)
				break
			}
		}
	}
	require.Equal(t, []string{"FW-012 image/ubi/rwfs/etc/init.d/rcS"}, told(t, refs, good))
	entry := make([]byte, 32)
	le.PutUint32(entry, parent)
	le.PutUint16(entry[26:], 3)
	room := last + int(le.Uint32(good[last+16:])+7)&^7
	masked := bytes.Clone(good)
	copy(masked[room:], ubifsNode(2, 1<<40, append(entry, "rcS"...)))
	require.Equal(t, []string{"FW-012 image/ubi/rwfs/etc/init.d/rcS~"}, versions(told(t, refs, masked)))
}

func TestWhatFirmwareWritesByItself(t *testing.T) {
	for p, want := range map[string]bool{
		"log/messages": true, "etc/hostname": true, "etc/dropbear/dropbear_rsa_host_key": true, "etc/systemd/network/00-bmc-eth0.network": true,
		"etc/systemd/network/.#00-bmc-eth0.network0123456789abcdef": true, "etc/hostname.tmp": true, "var/persist/etc/hostname": true, "log": false,
		"cow/etc/passwd": false, "home/root/.ssh/authorized_keys": false, "etc/systemd/system/evil.service": false, "etc/init.d/S99": false,
		"var/spool/cron/root": false, "etc/sudoers.d/x": false, "etc/udev/rules.d/99.rules": false, "log/x.service": false, "etc/systemd/network/x.sh": false,
		"etc/systemd/network/a/x.network": false, "home/etc/hostname": false,
	} {
		require.Equal(t, want, writtenInOperation(p), p)
	}
}
