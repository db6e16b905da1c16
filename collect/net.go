package collect

import (
	"context"
	"strings"
	"time"
)

const netDir = "sys/class/net"

// network reads ports. The permanent address is asked from the driver, since
// the address in sysfs can be set by anybody with rights.
func network(t *task) {
	if !t.host.live {
		t.ports(nil)
		return
	}
	ask, err := openDrivers()
	if err != nil {
		t.ports(noDrivers{err})
		return
	}
	defer ask.close()
	t.ports(ask)
}

// ports reads every port; ask is nil for a captured tree.
func (t *task) ports(ask portDriver) {
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
		switch {
		case ask == nil:
			t.attributes(dir, nil, []string{"perm_address", "ethtool"})
		case t.host.link(dir+"/device") != "":
			t.driver(ask, dir, n)
		}
	}
}

// portDriver is what is asked of the driver of a port.
type portDriver interface {
	permanent(port string) (string, error)
	info(port string) ([]byte, error)
}

// noDrivers says why no driver can be asked.
type noDrivers struct{ error }

func (n noDrivers) permanent(string) (string, error) { return "", n.error }
func (n noDrivers) info(string) ([]byte, error)      { return nil, n.error }

// driverTime is how long a driver may take; the kernel makes it wait for
// whoever changes a port.
const driverTime = 2 * time.Second

// driver stores what the driver of a port says: the address that the port was
// made with, and the version of its firmware. A port of the system's own
// making has no driver.
func (t *task) driver(ask portDriver, dir, n string) {
	name := dir + "/perm_address"
	t.at(name)
	mac, err := within(t.ctx, driverTime, func(context.Context) (string, error) { return ask.permanent(n) })
	switch {
	case err != nil:
		t.fail(name, err)
	case mac != "":
		t.add(name, []byte(mac+"\n"))
	}
	name = dir + "/ethtool"
	t.at(name)
	info, err := within(t.ctx, driverTime, func(context.Context) ([]byte, error) { return ask.info(n) })
	switch {
	case err != nil:
		t.fail(name, err)
	case info != nil:
		t.add(name, info)
	}
}
