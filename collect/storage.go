package collect

import (
	"context"
	"io"
	"regexp"
	"strings"
	"time"
)

const (
	nvmeDir  = "sys/class/nvme"
	blockDir = "sys/class/block"
)

// nvmeName is a controller and no namespace: its name becomes that of a device
// node.
var nvmeName = regexp.MustCompile(`^nvme\d{1,4}$`)

// nvme reads what the kernel kept of each controller's Identify data, and asks
// a running machine's controllers for all of it.
func nvme(t *task) {
	t.controllers(identifyController)
}

func (t *task) controllers(identify func(context.Context, string) ([]byte, error)) {
	for _, n := range t.list(nvmeDir) {
		dir := nvmeDir + "/" + n
		if t.over(dir) {
			continue
		}
		t.attributes(dir, []string{"model", "serial", "firmware_rev"}, []string{"subsysnqn", "cntlid", "address", "transport"})
		switch name := dir + "/identify"; {
		case !t.host.live:
			t.read(name, file{optional: true})
		case nvmeName.MatchString(n):
			t.at(name)
			if data, err := identify(t.ctx, n); err != nil {
				t.fail(name, err)
			} else {
				t.add(name, data)
			}
		}
	}
}

// block reads whole disks that belong to a device: partitions, loops and
// mappings have none.
func block(t *task) {
	for _, n := range t.list(blockDir) {
		dir := blockDir + "/" + n
		if t.over(dir) || t.host.has(dir+"/partition") || !t.host.has(dir+"/device") {
			continue
		}
		t.attributes(dir, nil, []string{"removable", "size", "serial"})
		attrs := []string{"model", "rev", "vendor", "serial", "wwid"}
		if strings.HasPrefix(n, "nvme") {
			// Of the namespace; the kernel asked for its descriptors (CNS 03h).
			t.attributes(dir, nil, []string{"wwid", "eui", "nguid", "nsid"})
		} else {
			attrs = append(attrs, "vpd_pg80", "vpd_pg83")
		}
		t.attributes(dir+"/device", nil, attrs)
		t.resolved(dir)
		switch {
		case !t.host.live:
			t.read(dir+"/gpt", file{limit: tableBytes, optional: true})
		case t.opt.BootDisk != "":
			t.partitionTable(n)
		}
	}
}

// tableBytes is what a partition table takes at the start of a medium: the
// protective block, the header and 128 entries (UEFI 2.10, 5.3.1).
const tableBytes = 34 * 512

// partitionTable keeps the start of a disk. The table of the medium that a
// scanner was started from names its image, and no other disk may have the same.
func (t *task) partitionTable(disk string) {
	name := blockDir + "/" + disk + "/gpt"
	t.at(name)
	data, err := within(t.ctx, 5*time.Second, func(context.Context) ([]byte, error) {
		f, err := t.host.files.Open("dev/" + disk)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		head := make([]byte, tableBytes)
		_, err = io.ReadFull(f, head)
		return head, err
	})
	if err != nil {
		t.fail(name, err)
		return
	}
	t.add(name, data)
}
