package spdm

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/assay-hw/assay/evidence"
)

// Observation is what a bundle shows of its devices.
type Observation struct {
	Devices []Device `json:"devices"`
}

// Device is one source that speaks of one device: a recorded conversation, or
// a resource of a management controller. A device may have several.
type Device struct {
	Subject  string        `json:"subject"` // "spdm:" and the name that the evidence gives it
	Artifact string        `json:"artifact"`
	Signed   *Measurements `json:"signed,omitempty"`  // what the device itself signed
	Listed   []Listed      `json:"listed,omitempty"`  // hearsay: what a management controller says that it measured
	Problem  string        `json:"problem,omitempty"` // why nothing is signed

	told   bool // by a management controller, and signed by nobody
	sha256 string
	length int64
	err    error
}

// Listed is one measurement as a management controller tells it. It is signed
// by nobody.
type Listed struct {
	Index int    `json:"index"`
	Value string `json:"value"` // hex
}

// Observe reads the recorded conversations (spdm/NAME/) and the resources
// ComponentIntegrity of a bundle. It never fails: why a source proves nothing
// stands in it.
func Observe(b *evidence.Bundle) *Observation {
	o := &Observation{}
	for _, name := range b.Dir("spdm") {
		if o.full("spdm/" + name) {
			return o
		}
		o.Devices = append(o.Devices, recorded(b, name))
	}
	for _, host := range b.Dir("redfish") {
		dir := "redfish/" + host + "/redfish/v1/ComponentIntegrity"
		for _, id := range b.Dir(dir) {
			if o.full(dir + "/" + id) {
				return o
			}
			o.Devices = append(o.Devices, relayed(b, host, id)...)
		}
	}
	return o
}

// maxDevices bounds the signatures that a bundle makes the verifier check; a
// server has some dozens of devices.
const maxDevices = 256

// full notes where reading stopped.
func (o *Observation) full(at string) bool {
	if len(o.Devices) < maxDevices {
		return false
	}
	err := fmt.Errorf("more than %d sources: nothing was read from %s on", maxDevices, at)
	o.Devices = append(o.Devices, Device{Subject: "spdm:rest", Artifact: at, Problem: err.Error(), err: err})
	return true
}

func newDevice(b *evidence.Bundle, name, artifact string) Device {
	a, _ := b.Artifact(artifact)
	return Device{Subject: "spdm:" + name, Artifact: artifact, sha256: a.SHA256, length: a.Size}
}

// settle verifies a conversation under a chain that was found for it.
func (d *Device) settle(t *Transcript, find func(*Transcript) (*Chain, error), err error) {
	var c *Chain
	if err == nil && t.signature == nil {
		err = ErrUnsigned
	}
	if err == nil {
		c, err = find(t)
	}
	if err == nil {
		d.Signed, err = Verify(t, c)
	}
	if err != nil {
		d.err, d.Problem = err, err.Error()
	}
}

// errNoChain says that nothing tells whose signature this is.
var errNoChain = errors.New("no certificate chain in evidence")

// recorded reads spdm/NAME/transcript.bin with the chain of its slot: a file
// beside it, or the one that was transferred in the conversation.
func recorded(b *evidence.Bundle, name string) Device {
	dir := "spdm/" + name + "/"
	d := newDevice(b, name, dir+"transcript.bin")
	raw, err := b.Read(d.Artifact)
	if err != nil {
		d.err = fmt.Errorf("no conversation in evidence (%s)", d.Artifact)
		if a, ok := b.Artifact(d.Artifact); ok && a.Status != evidence.Collected {
			d.err = fmt.Errorf("%s: %s %s", d.Artifact, a.Status, a.Reason)
		}
		d.Problem = d.err.Error()
		return d
	}
	t, err := ParseTranscript(raw)
	d.settle(t, func(t *Transcript) (*Chain, error) {
		if t.Slot == 0xf {
			return nil, fmt.Errorf("the device signed with a key that it has no certificate for (slot 15): %w", ErrUnsupported)
		}
		roots, err := givenRoot(b, dir+"root.der")
		if err != nil {
			return nil, err
		}
		file := fmt.Sprintf("%schain-%d", dir, t.Slot)
		if p, err := b.Read(file + ".pem"); err == nil {
			c, err := ParsePEM(p)
			return c, named(file+".pem", err)
		}
		p, err := b.Read(file + ".bin")
		if errors.Is(err, fs.ErrNotExist) {
			file, p = d.Artifact, t.chains[t.Slot]
			if p == nil {
				return nil, errNoChain
			}
		}
		c, err := ParseChain(p, roots...)
		return c, named(file, err)
	}, err)
	return d
}

func named(file string, err error) error {
	if err != nil {
		return fmt.Errorf("certificate chain in %s: %w", file, err)
	}
	return nil
}

// givenRoot reads a root certificate that the chain leaves out, DER or PEM.
func givenRoot(b *evidence.Bundle, file string) ([]*x509.Certificate, error) {
	raw, err := b.Read(file)
	if err != nil {
		return nil, nil // the root is in the chain then
	}
	if block, _ := pem.Decode(raw); block != nil {
		raw = block.Bytes
	}
	roots, err := parseCertificates(raw, 0)
	return roots, named(file, err)
}
