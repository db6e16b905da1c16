package spdm

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
)

// maxListed bounds the list of one device: SPDM has 254 indexes.
const maxListed = 1024

type link struct {
	ID string `json:"@odata.id"`
}

// integrity is the part of a resource ComponentIntegrity that is read
// (DSP8010, ComponentIntegrity 1.2). Its VerificationStatus is what the
// controller thinks, and is not read.
type integrity struct {
	Type string `json:"ComponentIntegrityType"`
	SPDM struct {
		MeasurementSet struct {
			Measurements []struct {
				Index int    `json:"MeasurementIndex"`
				Value string `json:"Measurement"`
			}
		}
		IdentityAuthentication struct {
			ResponderAuthentication struct {
				ComponentCertificate link
			}
		}
	}
}

// signedAnswer is the response of the action SPDMGetSignedMeasurements. The
// algorithms that it names are not read: the signed negotiation has them, or
// the key.
type signedAnswer struct {
	SignedMeasurements string
	Certificate        link
}

const signedAction = "/Actions/ComponentIntegrity.SPDMGetSignedMeasurements/index.json"

// relayed reads one resource of a management controller: its list, which is
// hearsay, and the signed answer that somebody saved beside it.
func relayed(b *evidence.Bundle, host, id string) []Device {
	dir := "redfish/" + host + "/redfish/v1/ComponentIntegrity/" + id
	var out []Device
	var doc integrity
	if raw, err := b.Read(dir + "/index.json"); err == nil {
		d := newDevice(b, id, dir+"/index.json")
		d.told = true
		switch err := json.Unmarshal(raw, &doc); {
		case err != nil:
			d.err = fmt.Errorf("%v: %w", err, ErrMalformed)
		case doc.Type != "SPDM":
			return nil // a TPM, which is seen elsewhere
		default:
			d.Listed, d.err = doc.listed()
		}
		if d.err != nil {
			d.Problem = d.err.Error()
		}
		out = append(out, d)
	}
	raw, err := b.Read(dir + signedAction)
	if err != nil {
		return out
	}
	d := newDevice(b, id, dir+signedAction)
	var answer signedAnswer
	var t *Transcript
	if err := json.Unmarshal(raw, &answer); err != nil {
		d.settle(nil, nil, fmt.Errorf("%v: %w", err, ErrMalformed))
		return append(out, d)
	}
	said, err := base64.StdEncoding.DecodeString(answer.SignedMeasurements)
	if err != nil {
		err = fmt.Errorf("SignedMeasurements: %v: %w", err, ErrMalformed)
	} else if t, err = ParseTranscript(said); err != nil {
		err = fmt.Errorf("SignedMeasurements: %w", err)
	}
	d.settle(t, func(*Transcript) (*Chain, error) {
		at := answer.Certificate
		if at.ID == "" {
			at = doc.SPDM.IdentityAuthentication.ResponderAuthentication.ComponentCertificate
		}
		return certificateOf(b, host, at)
	}, err)
	return append(out, d)
}

// listed takes the measurements that a controller tells, each a digest in
// base64 (DSP8010: never a bit stream).
func (doc *integrity) listed() ([]Listed, error) {
	all := doc.SPDM.MeasurementSet.Measurements
	if len(all) > maxListed {
		return nil, malformed(0, "a list of %d measurements", len(all))
	}
	var out []Listed
	for _, m := range all {
		v, err := base64.StdEncoding.DecodeString(m.Value)
		if err != nil {
			return out, fmt.Errorf("measurement %d: %v: %w", m.Index, err, ErrMalformed)
		}
		out = append(out, Listed{Index: m.Index, Value: hex.EncodeToString(v)})
	}
	slices.SortStableFunc(out, func(a, b Listed) int { return a.Index - b.Index })
	return out, nil
}

// certificateOf reads the certificate resource that a link leads to.
func certificateOf(b *evidence.Bundle, host string, at link) (*Chain, error) {
	clean := path.Clean("/" + at.ID)
	if at.ID == "" || !strings.HasPrefix(clean, "/redfish/") {
		return nil, errNoChain
	}
	file := "redfish/" + host + clean + "/index.json"
	raw, err := b.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", errNoChain, file)
	}
	var doc struct{ CertificateString string }
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, named(file, fmt.Errorf("%v: %w", err, ErrMalformed))
	}
	c, err := ParsePEM([]byte(doc.CertificateString))
	return c, named(file, err)
}
