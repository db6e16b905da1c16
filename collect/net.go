package collect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/safchain/ethtool"
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

// errNoPermanent is the all-zero address of a port without one.
const errNoPermanent = "00:00:00:00:00:00"

// permanentAddresses asks drivers (ETHTOOL_GPERMADDR) on a running machine. A
// port that has no such address gives "".
func permanentAddresses(t *task) (ask func(string) (string, error), done func()) {
	if !t.host.live {
		return func(string) (string, error) { return "", nil }, func() {}
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return func(string) (string, error) { return "", fmt.Errorf("ethtool: %w", err) }, func() {}
	}
	return func(n string) (string, error) {
		if t.host.link(netDir+"/"+n+"/device") == "" {
			return "", nil // a logical port
		}
		mac, err := e.PermAddr(n)
		switch {
		case errors.Is(err, errors.ErrUnsupported), mac == errNoPermanent:
			return "", nil
		case err != nil:
			return "", fmt.Errorf("ethtool: %w", err)
		}
		return mac, nil
	}, e.Close
}
