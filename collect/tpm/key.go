package tpm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/assay-hw/assay/internal/tpmwire"
)

// key is a loaded or persistent key.
type key struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
}

// Key is a key of the TPM that others may know by its public part.
type Key struct {
	key
	Public []byte // TPM2B_PUBLIC
	Kind   string // "rsa-2048", "ecc-p256"
}

func newKey(h tpm2.TPMHandle, pub tpm2.TPM2BPublic, name tpm2.TPM2BName) (*Key, error) {
	p, err := pub.Contents()
	if err != nil {
		return nil, err
	}
	k := &Key{key: key{h, name, *p}, Public: tpm2.Marshal(pub)}
	k.Kind = kindOf(p)
	return k, nil
}

func kindOf(p *tpm2.TPMTPublic) string {
	switch p.Type {
	case tpm2.TPMAlgRSA:
		if r, err := p.Parameters.RSADetail(); err == nil {
			return fmt.Sprintf("rsa-%d", r.KeyBits)
		}
	case tpm2.TPMAlgECC:
		if e, err := p.Parameters.ECCDetail(); err == nil {
			switch e.CurveID {
			case tpm2.TPMECCNistP256:
				return "ecc-p256"
			case tpm2.TPMECCNistP384:
				return "ecc-p384"
			case tpm2.TPMECCNistP521:
				return "ecc-p521"
			}
		}
	}
	return fmt.Sprintf("alg-%04x", uint16(p.Type))
}

// EndorsementKeys finds the endorsement keys: those that are kept in the TPM,
// and one that is derived again where the TPM keeps none. The first is the one
// that the TPM is known by. certs are the NV indexes that hold certificates.
func (d *Device) EndorsementKeys(certs map[uint32][]byte) ([]*Key, error) {
	kept, err := d.keptKeys()
	if err != nil {
		return nil, err
	}
	kinds := ekKinds()
	var out []*Key
	for i := range kinds {
		for _, k := range kept {
			if k.Kind == kinds[i].name {
				out = append(out, k)
				break
			}
		}
	}
	// A certified key comes first, in the order of the templates.
	for _, kind := range kinds {
		if _, certified := certs[kind.cert]; !certified {
			continue
		}
		for i, k := range out {
			if k.Kind == kind.name {
				out[0], out[i] = out[i], out[0]
				return d.use(out)
			}
		}
		k, err := d.derive(kind)
		if err != nil {
			return nil, err
		}
		return d.use(append([]*Key{k}, out...))
	}
	if len(out) > 0 {
		return d.use(out)
	}
	var first error
	for _, kind := range kinds {
		k, err := d.derive(kind)
		if err == nil {
			return d.use([]*Key{k})
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// use opens the salted session with the first key. A TPM that refuses is asked
// without one; nothing rests on it but the detection of an edited bus.
func (d *Device) use(keys []*Key) ([]*Key, error) {
	if d.session == nil {
		_ = d.salt(&keys[0].key)
	}
	return keys, nil
}

// Protected reports whether commands are sent in a session that only the
// endorsement key's holder can answer.
func (d *Device) Protected() bool { return d.session != nil }

// keptKeys lists the persistent keys with the attributes of an endorsement key
// in the range for the endorsement hierarchy (TCG Registry of Reserved TPM 2.0
// Handles, 2.3.1).
func (d *Device) keptKeys() ([]*Key, error) {
	const first, last, most = 0x81010000, 0x8101ffff, 16
	all, err := d.handles(first)
	if err != nil {
		return nil, err
	}
	var out []*Key
	for _, h := range all {
		if h < first || h > last || len(out) >= most {
			continue
		}
		k, err := d.keyAt(h)
		if err != nil {
			continue // a key that cannot be read certifies nothing
		}
		if a := k.public.ObjectAttributes; a.FixedTPM && a.Restricted && a.Decrypt && !a.SignEncrypt {
			out = append(out, k)
		}
	}
	return out, nil
}

func (d *Device) keyAt(h uint32) (*Key, error) {
	return guarded(fmt.Sprintf("key at 0x%08x", h), func() (*Key, error) {
		r, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(h)}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		return newKey(tpm2.TPMHandle(h), r.OutPublic, r.Name)
	})
}

// derive makes an endorsement key again from its template. NV indexes of the
// maker replace the template or the nonce in it.
func (d *Device) derive(kind ekKind) (*Key, error) {
	pub := tpm2.New2B(kind.public)
	if kind.template != 0 {
		if raw, err := d.nv(kind.template); err == nil {
			pub = tpm2.BytesAs2B[tpm2.TPMTPublic](raw)
		}
		if nonce, err := d.nv(kind.nonce); err == nil {
			p, err := pub.Contents()
			if err != nil {
				return nil, fmt.Errorf("%s template in NV: %w", kind.name, err)
			}
			pub = tpm2.New2B(withNonce(*p, nonce))
		}
	}
	return d.primary(pub, kind.name+" endorsement key")
}

// withNonce puts a nonce where the profile says: at the front of the unique
// field, padded with zeros to the key's size.
func withNonce(p tpm2.TPMTPublic, nonce []byte) tpm2.TPMTPublic {
	pad := func(n int) []byte {
		b := make([]byte, n)
		copy(b, nonce)
		return b
	}
	if p.Type == tpm2.TPMAlgRSA {
		p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: pad(256)})
	} else {
		p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: pad(32)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}})
	}
	return p
}

// primary makes a primary key of the endorsement hierarchy: the same key each
// time, and nothing stored.
func (d *Device) primary(pub tpm2.TPM2BPublic, what string) (*Key, error) {
	return guarded(what, func() (*Key, error) {
		r, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)}, InPublic: pub}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		d.flush = append(d.flush, r.ObjectHandle)
		return newKey(r.ObjectHandle, r.OutPublic, r.Name)
	})
}

// unload frees the key's place: a TPM may have no more than three.
func (d *Device) unload(k *Key) {
	if i := slices.Index(d.flush, k.handle); i >= 0 {
		d.flush = slices.Delete(d.flush, i, i+1)
		_, _ = tpm2.FlushContext{FlushHandle: k.handle}.Execute(d.w)
	}
}

// AttestationKey gives the key that signs. It is a primary key of the
// endorsement hierarchy, so that every scan has the same key without storing
// it, and so that the TPM shows it the real counters and firmware version (TPM
// 2.0 Library Part 1, 36.7).
//
// A handle other than 0 names a persistent key, which is used when it is there
// and otherwise made and kept: the only thing that Assay ever stores in a TPM.
func (d *Device) AttestationKey(handle uint32) (*Key, error) {
	if handle != 0 {
		if k, err := d.keyAt(handle); err == nil {
			return k, checkAK(k.Public)
		}
	}
	k, err := d.primary(tpm2.New2B(akECC()), "attestation key")
	if err != nil {
		if k, err = d.primary(tpm2.New2B(akRSA()), "attestation key"); err != nil {
			return nil, err
		}
	}
	if handle == 0 {
		return k, nil
	}
	return guarded("keep attestation key", func() (*Key, error) {
		_, err := tpm2.EvictControl{
			Auth:         tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			ObjectHandle: tpm2.NamedHandle{Handle: k.handle, Name: k.name}, PersistentHandle: tpm2.TPMIDHPersistent(handle),
		}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		k.handle = tpm2.TPMHandle(handle)
		return k, nil
	})
}

// checkAK refuses a key that could sign what the TPM did not make or that can
// leave its TPM.
func checkAK(public []byte) error {
	p, err := tpmwire.ParsePublic(public)
	if err != nil {
		return fmt.Errorf("attestation key: %w", err)
	}
	const must = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Restricted | tpmwire.Sign
	if p.Attributes&must != must || p.Attributes&tpmwire.Decrypt != 0 {
		return fmt.Errorf("attestation key: attributes %#x are not those of a restricted signing key that stays in its TPM", uint32(p.Attributes))
	}
	return nil
}

// Files are the public parts and certificates as artefacts of a bundle.
func Files(ak *Key, eks []*Key, certs map[uint32][]byte) map[string][]byte {
	out := map[string][]byte{}
	for i, k := range eks {
		if i == 0 {
			out[EKPath] = k.Public
			continue
		}
		out[strings.TrimSuffix(EKPath, ".pub")+"-"+k.Kind+".pub"] = k.Public
	}
	if ak != nil {
		out[AKPath] = ak.Public
	}
	for index, data := range certs {
		out[CertificatePath(index)] = data
	}
	return out
}

// CertificatePath is where the contents of an NV index stand in a bundle.
func CertificatePath(index uint32) string { return fmt.Sprintf("tpm/ek-0x%08x.crt", index) }

func (k *Key) is(public []byte) bool { return bytes.Equal(k.Public, public) }
