package bom

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/sdr"
)

const sdrName = "ipmi/sdr.bin"

// bmcAddress is the slave address of the management controller that answers
// (IPMI 2.0, 5.1).
const bmcAddress = 0x20

// repository reads the records in which the management controller lists the
// devices on its buses. It is the controller's word: a device that is on the
// list need not be there, and one that is there need not be on it.
func (r *reader) repository() {
	data, err := r.b.Read(sdrName)
	if err != nil {
		return
	}
	s := sdr.Parse(data)
	for _, p := range s.Problems {
		r.problem(sdrName, p.Offset, p.What)
	}
	a, _ := r.b.Artifact(sdrName)
	r.seen(IPMB, len(s.Problems) == 0 && len(data) > 0 && a.Reason == "", cmp.Or(a.Reason, sdrName+" is not well-formed"), finding.BMCTold)
	for _, d := range s.Devices {
		o := r.origin(finding.BMCTold, "sdr", sdrName, d.Offset, d.Length)
		r.locator(d, o)
		if host := r.part("fru:" + strconv.Itoa(int(d.ID))); d.Kind == sdr.FRU && d.Logical && d.Address == bmcAddress && host != nil && host.Identity.Name == "" {
			host.Identity.Name = ids.Clean(d.Name)
		}
	}
	if p := r.part("bmc"); p != nil {
		p.fact("sensors", strconv.Itoa(len(s.Sensors)), r.whole(finding.BMCTold, "sdr", sdrName))
	}
}

// locator adds one device that the controller names.
func (r *reader) locator(d sdr.Device, o origin) {
	at := fmt.Sprintf("%d/%02x", d.Channel, d.Address)
	switch {
	case d.Kind == sdr.FRU && d.Logical:
		at += fmt.Sprintf("/fru/%d", d.ID)
	case d.Kind != sdr.Controller:
		at += fmt.Sprintf("/%d/%02x", d.Bus, d.ID)
	}
	name := cmp.Or(ids.Clean(d.Name), "no name")
	p := r.add(Part{Class: IPMB, Subject: "ipmb:" + at, Location: finding.Location{Path: "ipmb/" + at, Designator: name}})
	p.set("model", &p.Identity.Model, fmt.Sprintf("%s %s", d.Kind, name), o)
	p.fact("entity", fmt.Sprintf("%d.%d", d.Entity.ID, d.Entity.Instance), o)
	p.fact("deviceType", fmt.Sprintf("%02x.%02x", d.Type, d.Modifier), o)
}

// controllerIDs reads the numbers that the controller has of itself and of the
// system.
func (r *reader) controllerIDs() {
	p := r.part("bmc")
	if p == nil {
		return
	}
	for fact, name := range map[string]string{"deviceGUID": "ipmi/device-guid.bin", "systemGUID": "ipmi/system-guid.bin"} {
		a, _ := r.b.Artifact(name)
		data, err := r.b.Read(name)
		switch {
		case a.Status != evidence.Collected || err != nil:
		case len(data) != 16:
			r.problem(name, 0, fmt.Sprintf("a GUID has 16 bytes, not %d", len(data)))
		default:
			p.fact(fact, fmt.Sprintf("%x", data), r.whole(finding.BMCTold, "ipmi", name))
		}
	}
}

// ManagementPort is the model of a network port of the management controller, of
// which nothing but the address is known.
const ManagementPort = "management port"

// managementPorts reads the address of each LAN channel of the management
// controller, which is reachable through them whatever the host does.
func (r *reader) managementPorts() {
	for _, name := range r.b.Glob("ipmi/lan-*.bin") {
		data, err := r.b.Read(name)
		if err != nil {
			continue
		}
		channel := strings.TrimSuffix(strings.TrimPrefix(name, "ipmi/lan-"), ".bin")
		if len(data) != 7 || len(channel) > 2 {
			r.problem(name, 0, fmt.Sprintf("the address of a LAN channel is a revision and six bytes, not %d bytes", len(data)))
			r.partial(LAN, name+" cannot be read")
			continue
		}
		r.seen(LAN, true, "", finding.BMCTold)
		if len(bytes.Trim(data[1:], "\x00")) == 0 {
			continue // a channel that is not used
		}
		mac := net.HardwareAddr(data[1:]).String()
		p := r.add(Part{Class: LAN, Subject: "lan:" + channel, Location: finding.Location{Path: "ipmi/lan/" + channel}, Identity: Identity{Model: ManagementPort, Name: ids.OUI(mac), MakerIDs: []string{"oui:" + hex.EncodeToString(data[1:4])}}})
		p.set("serial", &p.Identity.Serial, mac, r.whole(finding.BMCTold, "ipmi", name))
	}
}
