package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/evidence"
)

// sign lets the TPM sign everything that is in the bundle. It comes last: what
// is added afterwards lies outside the seal.
func (s *scan) sign(ctx context.Context, w *evidence.Writer) error {
	began := time.Now()
	es := s.askTPM(ctx, w)
	if s.opt.Progress != nil {
		s.opt.Progress(progressOf("quote", es, time.Since(began)))
	}
	return fill(w, es)
}

// askTPM returns what belongs outside the seal: quotes and time. What belongs
// inside is put into the bundle first.
func (s *scan) askTPM(ctx context.Context, w *evidence.Writer) []entry {
	if ctx.Err() != nil {
		return []entry{missing("tpm/quote-sha256.attest", ctx.Err())}
	}
	dev, err := tpm.Open(s.opt.TPM)
	if err != nil {
		inside := []entry{missing(tpm.PropertiesPath, err)}
		if err := fill(w, inside); err != nil {
			return []entry{missing("tpm/quote-sha256.attest", err)}
		}
		return append(inside, missing("tpm/quote-sha256.attest", err))
	}
	defer dev.Close()
	ak, inside := identify(dev, s.opt.AKHandle)
	if err := fill(w, inside); err != nil {
		return []entry{missing("tpm/quote-sha256.attest", err)}
	}
	out, err := s.attest(dev, ak, w)
	if err != nil {
		out = append(out, missing("tpm/quote-sha256.attest", err))
	}
	return append(inside, out...)
}

func missing(path string, err error) entry {
	e := entry{path: path, status: statusOf(err), reason: err.Error()}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		e.reason = pe.Error()
	}
	return e
}

// identify reads who the TPM is.
func identify(dev *tpm.Device, akHandle uint32) (ak *tpm.Key, out []entry) {
	keep := func(path string, data []byte, err error) {
		if err != nil {
			out = append(out, missing(path, err))
			return
		}
		out = append(out, entry{path: path, data: data, status: evidence.Collected})
	}
	props, err := dev.Properties()
	keep(tpm.PropertiesPath, props, err)
	certs, failed, err := dev.Certificates()
	if err != nil {
		keep(tpm.CertificatePath(0x01c00002), nil, err)
	}
	for _, index := range slices.Sorted(maps.Keys(failed)) {
		keep(tpm.CertificatePath(index), nil, failed[index])
	}
	eks, err := dev.EndorsementKeys(certs)
	if err != nil {
		keep(tpm.EKPath, nil, err)
	}
	ak, err = dev.AttestationKey(akHandle)
	if err != nil {
		keep(tpm.AKPath, nil, err)
	}
	files := tpm.Files(ak, eks, certs)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		keep(p, files[p], nil)
		if p == tpm.AKPath && !dev.Protected() {
			out[len(out)-1].reason = "asked without a protected session: the TPM or the bus refused one"
		}
	}
	return ak, out
}

// attest signs time and registers. The registers' listing is inside the seal,
// so they are read before and after the quotes, and all is done again when
// something was measured in between.
func (s *scan) attest(dev *tpm.Device, ak *tpm.Key, w *evidence.Writer) ([]entry, error) {
	const attempts = 4
	banks, err := dev.Banks()
	if err != nil {
		return nil, err
	}
	var out []entry
	for range attempts {
		before, err := dev.Registers(banks)
		if err != nil {
			return nil, err
		}
		listing, err := json.MarshalIndent(before, "", " ")
		if err != nil {
			return nil, fmt.Errorf("registers: %w", err)
		}
		if err := w.Add(tpm.RegistersPath, listing, ""); err != nil {
			return nil, err
		}
		if ak == nil {
			return nil, errors.New("no attestation key")
		}
		digest, err := w.Digest()
		if err != nil {
			return nil, err
		}
		bound := evidence.QualifyingData(s.opt.Nonce, digest)
		out = nil
		for _, bank := range slices.Sorted(maps.Keys(banks)) {
			q, err := dev.Quote(ak, banks[bank], tpm.BootRegisters(), bound[:])
			out = append(out, signed("tpm/quote-"+bank, q, err)...)
		}
		t, err := dev.Time(ak, bound[:])
		out = append(out, signed("tpm/time", t, err)...)
		after, err := dev.Registers(banks)
		if err != nil || reflect.DeepEqual(before, after) {
			break
		}
	}
	return out, nil
}

func signed(path string, a *tpm.Attestation, err error) []entry {
	if err != nil {
		return []entry{missing(path+".attest", err)}
	}
	return []entry{
		{path: path + ".attest", data: a.Body, status: evidence.Collected},
		{path: path + ".sig", data: a.Signature, status: evidence.Collected},
	}
}
