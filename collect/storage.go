package collect

import "strings"

const (
	nvmeDir  = "sys/class/nvme"
	blockDir = "sys/class/block"
)

// nvme reads what the kernel kept of each controller's Identify data.
func nvme(t *task) {
	for _, n := range t.list(nvmeDir) {
		dir := nvmeDir + "/" + n
		if !t.over(dir) {
			t.attributes(dir, []string{"model", "serial", "firmware_rev"}, []string{"subsysnqn", "cntlid", "address", "transport"})
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
		if !strings.HasPrefix(n, "nvme") {
			attrs = append(attrs, "vpd_pg80", "vpd_pg83")
		}
		t.attributes(dir+"/device", nil, attrs)
	}
}
