package collect

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/evidence"
)

const deviceIDPath = "ipmi/device-id.bin"

// bmcCommand sends one request and gives the response behind the completion
// code, or a completion. It only reads: Get Device ID, Get Device and System
// GUID, Get LAN Configuration Parameters, Get FRU Inventory Area Info, Read FRU
// Data, Reserve SDR Repository and Get SDR (IPMI 2.0, 20.1, 20.8, 22.14, 23.2, 34.1,
// 34.2, 33.11, 33.12). A reservation
// changes nothing but who may read a record in pieces.
type bmcCommand func(ctx context.Context, netFn, command byte, data []byte) ([]byte, error)

// ipmiBMC asks the management controller through the kernel's driver.
func ipmiBMC(t *task) {
	if !t.host.live {
		return
	}
	do, done, err := openBMC("/dev/ipmi0")
	if err != nil {
		t.fail(deviceIDPath, err)
		t.fail("ipmi/fru-0.bin", err)
		t.fail(sdrPath, err)
		t.fail(fmt.Sprintf(lanPath, 1), err)
		return
	}
	defer done()
	t.bmc(do)
}

// completed cuts the completion code off; another one than 0 is an error.
func completed(r []byte) ([]byte, error) {
	if len(r) == 0 {
		return nil, errors.New("an empty response")
	}
	if r[0] != 0 {
		return nil, completion(r[0])
	}
	return r[1:], nil
}

// completion is a completion code other than 0: the controller answers that it
// does not do what was asked (IPMI 2.0, 5.2).
type completion byte

const reservationLost completion = 0xc5

// transient reports that the same may be answered another time, or in another state
// of the controller (IPMI 2.0, table 5-2).
func (c completion) transient() bool {
	switch c {
	case 0xc0, 0xc3, 0xc4, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xd5, 0xff:
		return true
	}
	return false
}

func (c completion) Error() string { return fmt.Sprintf("completion code 0x%02x", byte(c)) }

const (
	netFnApp, netFnStorage = 0x06, 0x0a
	cmdDeviceID            = 0x01
	cmdFRUInfo, cmdFRURead = 0x10, 0x11
	maxFRUs, fruGap        = 64, 8

	lanPath                   = "ipmi/lan-%d.bin"
	netFnTransport, cmdGetLAN = 0x0c, 0x02 // IPMI 2.0, 23.2
	lanAddress                = 5          // the parameter that is the MAC address
	maxChannel                = 0x0b       // IPMI 2.0, 6.3
)

func (t *task) bmc(do bmcCommand) {
	t.at(deviceIDPath)
	id, err := do(t.ctx, netFnApp, cmdDeviceID, nil)
	if err != nil {
		t.fail(deviceIDPath, err)
	} else {
		t.add(deviceIDPath, id)
	}
	if errors.Is(err, errTimeout) || t.guids(do) || t.frus(do) {
		for _, name := range []string{"ipmi/fru-0.bin", sdrPath, fmt.Sprintf(lanPath, 1)} {
			t.unless(name, errTimeout)
		}
		return // a controller that hangs is not asked again
	}
	if t.sdr(do) {
		t.unless(fmt.Sprintf(lanPath, 1), errTimeout)
		return
	}
	t.lans(do)
}

// lans reads the addresses of the controller's network ports, by channel. Those
// of other kinds answer with an error, and so do channels that are not there.
func (t *task) lans(do bmcCommand) {
	for n := byte(1); n <= maxChannel; n++ {
		name := fmt.Sprintf(lanPath, n)
		if t.over(name) {
			return
		}
		t.at(name)
		r, err := do(t.ctx, netFnTransport, cmdGetLAN, []byte{n, lanAddress, 0, 0})
		code, refused := errors.AsType[completion](err)
		switch {
		case err == nil:
			t.add(name, r)
		case !refused:
			t.fail(name, err)
			return // it hangs, or went away
		case code.transient():
			t.fail(name, err) // the port may be there
		case n == 1:
			t.note(name, evidence.Absent, err.Error())
		}
	}
}

// unless records an error for what has no status yet.
func (t *task) unless(name string, err error) {
	t.mu.Lock()
	_, have := t.entries[name]
	t.mu.Unlock()
	if !have {
		t.fail(name, err)
	}
}

// frus reads the inventory devices.
func (t *task) frus(do bmcCommand) (hangs bool) {
	// FRU ids need not be without gaps; a run of missing ones ends the list.
	for n, gap := 0, 0; n < maxFRUs && gap < fruGap; n++ {
		name := fmt.Sprintf("ipmi/fru-%d.bin", n)
		if t.over(name) {
			return true
		}
		t.at(name)
		data, err := readFRU(t.ctx, do, byte(n))
		switch {
		case err == nil:
			t.add(name, data)
			gap = 0
		case errors.Is(err, errTimeout):
			t.fail(name, err)
			return true
		case errors.Is(err, errNoFRU):
			gap++
			if n == 0 {
				t.note(name, evidence.Absent, err.Error())
			}
		default:
			t.fail(name, err)
			gap = 0
		}
	}
	return false
}

// errNoFRU says that there is no inventory device of a number.
var errNoFRU = errors.New("no FRU inventory device of this number")

// readFRU reads one inventory device. Sizes and counts are the controller's
// claims and are checked.
func readFRU(ctx context.Context, do bmcCommand, id byte) ([]byte, error) {
	info, err := do(ctx, netFnStorage, cmdFRUInfo, []byte{id})
	switch {
	case errors.Is(err, errTimeout):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoFRU, err)
	case len(info) < 3:
		return nil, fmt.Errorf("area info of %d bytes", len(info))
	}
	size, shift := int(info[0])|int(info[1])<<8, int(info[2]&1) // offsets in bytes or in words
	if size == 0 {
		return nil, fmt.Errorf("%w: its area has no bytes", errNoFRU)
	}
	out := make([]byte, 0, size)
	for len(out) < size {
		const chunk = 16 // what every controller's interface carries
		at, n := len(out)>>shift, min(chunk, size-len(out))
		r, err := do(ctx, netFnStorage, cmdFRURead, []byte{id, byte(at), byte(at >> 8), byte(max(1, n>>shift))})
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", len(out), err)
		}
		if len(r) < 2 {
			return nil, fmt.Errorf("offset %d: no data", len(out))
		}
		got := r[1:min(len(r), 1+int(r[0])<<shift, 1+size-len(out))]
		if len(got) == 0 {
			return nil, fmt.Errorf("offset %d: no data", len(out))
		}
		out = append(out, got...)
	}
	return out, nil
}
