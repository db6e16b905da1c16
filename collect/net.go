package collect

import (
	"strings"
)

const netDir = "sys/class/net"

// network reads ports. The permanent address is asked from the driver, since
// the address in sysfs can be set by anybody with rights.
func network(t *task) {
	permanent, done := permanentAddresses(t)
	defer done()
	for _, n := range t.list(netDir) {
		dir := netDir + "/" + n
		if strings.ContainsAny(n, " /") || t.over(dir) {
			continue
		}
		if t.host.link(dir) == "" && !t.host.has(dir+"/address") {
			continue // bonding_masters is a file
		}
		t.attributes(dir, nil, []string{"address", "addr_assign_type", "type"})
		t.resolved(dir)
		t.base(dir, "driver", "device/driver")
		if t.host.has(dir + "/perm_address") {
			t.read(dir+"/perm_address", file{optional: true})
		} else if mac, err := permanent(n); err != nil {
			t.fail(dir+"/perm_address", err)
		} else if mac != "" {
			t.add(dir+"/perm_address", []byte(mac+"\n"))
		}
	}
}
