package tpm

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Paths of what a TPM gives, in a bundle.
const (
	PropertiesPath = "tpm/properties.json"
	RegistersPath  = "tpm/pcrs.json"
	EKPath         = "tpm/ek.pub"
	AKPath         = "tpm/ak.pub"
)

// Device is an open TPM.
type Device struct {
	w       *wire
	flush   []tpm2.TPMHandle
	session tpm2.Session // salted with the endorsement key; nil before it is known
	end     func() error
	nvChunk uint16
}

// Open opens a TPM. A missing device gives an error that wraps fs.ErrNotExist,
// one that may not be used fs.ErrPermission.
func Open(address string) (*Device, error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	w, err := dial(a)
	if err != nil {
		return nil, err
	}
	return &Device{w: w, nvChunk: 512}, nil
}

// Close removes every key and session from the TPM's working memory.
func (d *Device) Close() error {
	if d.end != nil {
		_ = d.end()
	}
	for _, h := range slices.Backward(d.flush) {
		_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(d.w)
	}
	return d.w.Close()
}

// guarded runs commands. The library reads responses by reflection; a TPM that
// answers nonsense must not stop the scan.
func guarded[T any](what string, call func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: unreadable response: %v", what, r)
		}
	}()
	if v, err = call(); err != nil {
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}

// auth is the authorisation of a key without a password, in the salted session
// where there is one.
func (d *Device) auth(k *key) tpm2.AuthHandle {
	h := tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: tpm2.PasswordAuth(nil)}
	if d.session != nil {
		h.Auth = d.session
	}
	return h
}

// salt opens a session whose secret only the holder of the endorsement key can
// know: whoever sits on the bus cannot change a response unnoticed.
func (d *Device) salt(ek *key) error {
	s, err := guarded("start session", func() (tpm2.Session, error) {
		s, end, err := tpm2.HMACSession(d.w, tpm2.TPMAlgSHA256, 16, tpm2.Salted(ek.handle, ek.public))
		d.end = end
		return s, err
	})
	if err != nil {
		d.end = nil
		return err
	}
	d.session = s
	return nil
}

// Properties gives the fixed properties and the two permanent attribute words,
// as JSON under their names in TPM 2.0 Library Part 2, 6.13.
func (d *Device) Properties() ([]byte, error) {
	out := map[string]string{}
	for _, first := range []uint32{0x100, 0x200} {
		props, err := guarded("properties", func() ([]tpm2.TPMSTaggedProperty, error) {
			r, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: first, PropertyCount: 127}.Execute(d.w)
			if err != nil {
				return nil, err
			}
			l, err := r.CapabilityData.Data.TPMProperties()
			if err != nil {
				return nil, err
			}
			return l.TPMProperty, nil
		})
		if err != nil {
			return nil, err
		}
		for _, p := range props {
			if name := propertyName(uint32(p.Property)); name != "" {
				out["TPM2_PT_"+name] = fmt.Sprintf("0x%X", p.Value)
			}
			if p.Property == 0x12c && p.Value >= 64 && p.Value <= 4096 {
				d.nvChunk = uint16(p.Value)
			}
		}
	}
	return json.MarshalIndent(out, "", " ")
}

// propertyName names a property; those that change with use are left out.
func propertyName(p uint32) string {
	names := []string{
		"FAMILY_INDICATOR", "LEVEL", "REVISION", "DAY_OF_YEAR", "YEAR", "MANUFACTURER", "VENDOR_STRING_1", "VENDOR_STRING_2", "VENDOR_STRING_3",
		"VENDOR_STRING_4", "VENDOR_TPM_TYPE", "FIRMWARE_VERSION_1", "FIRMWARE_VERSION_2", "INPUT_BUFFER", "HR_TRANSIENT_MIN", "HR_PERSISTENT_MIN",
		"HR_LOADED_MIN", "ACTIVE_SESSIONS_MAX", "PCR_COUNT", "PCR_SELECT_MIN", "CONTEXT_GAP_MAX", "", "NV_COUNTERS_MAX", "NV_INDEX_MAX", "MEMORY",
		"CLOCK_UPDATE", "CONTEXT_HASH", "CONTEXT_SYM", "CONTEXT_SYM_SIZE", "ORDERLY_COUNT", "MAX_COMMAND_SIZE", "MAX_RESPONSE_SIZE", "MAX_DIGEST",
		"MAX_OBJECT_CONTEXT", "MAX_SESSION_CONTEXT", "PS_FAMILY_INDICATOR", "PS_LEVEL", "PS_REVISION", "PS_DAY_OF_YEAR", "PS_YEAR", "SPLIT_MAX",
		"TOTAL_COMMANDS", "LIBRARY_COMMANDS", "VENDOR_COMMANDS", "NV_BUFFER_MAX", "MODES", "MAX_CAP_BUFFER",
	}
	switch {
	case p == 0x200:
		return "PERMANENT"
	case p == 0x201:
		return "STARTUP_CLEAR"
	case p >= 0x100 && int(p-0x100) < len(names):
		return names[p-0x100]
	}
	return ""
}

// Registers are the PCR values by bank name, for 0 to 23.
type Registers map[string]map[int][]byte

// MarshalJSON writes tpm/pcrs.json.
func (r Registers) MarshalJSON() ([]byte, error) {
	out := map[string]map[string]string{}
	for bank, pcrs := range r {
		out[bank] = map[string]string{}
		for n, v := range pcrs {
			out[bank][fmt.Sprint(n)] = hex.EncodeToString(v)
		}
	}
	return json.Marshal(out)
}

func bankName(a tpm2.TPMIAlgHash) string {
	switch a {
	case tpm2.TPMAlgSHA1:
		return "sha1"
	case tpm2.TPMAlgSHA256:
		return "sha256"
	case tpm2.TPMAlgSHA384:
		return "sha384"
	case tpm2.TPMAlgSHA512:
		return "sha512"
	case 0x12:
		return "sm3_256"
	}
	return fmt.Sprintf("alg-%04x", uint16(a))
}

// Banks lists the active banks by name.
func (d *Device) Banks() (map[string]tpm2.TPMIAlgHash, error) {
	return guarded("banks", func() (map[string]tpm2.TPMIAlgHash, error) {
		r, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 16}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		l, err := r.CapabilityData.Data.AssignedPCR()
		if err != nil {
			return nil, err
		}
		out := map[string]tpm2.TPMIAlgHash{}
		for _, s := range l.PCRSelections {
			if slices.ContainsFunc(s.PCRSelect, func(b byte) bool { return b != 0 }) {
				out[bankName(s.Hash)] = s.Hash
			}
		}
		return out, nil
	})
}

// errMoving says that registers changed while they were read.
var errMoving = errors.New("registers changed while they were read")

// Registers reads all banks, as of one moment.
func (d *Device) Registers(banks map[string]tpm2.TPMIAlgHash) (Registers, error) {
	for range 5 {
		r, err := d.registersOnce(banks)
		if !errors.Is(err, errMoving) {
			return r, err
		}
	}
	return nil, errMoving
}

func (d *Device) registersOnce(banks map[string]tpm2.TPMIAlgHash) (Registers, error) {
	out := Registers{}
	counter, first := uint32(0), true
	for name, alg := range banks {
		out[name] = map[int][]byte{}
		for _, group := range [][]uint{{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}, {16, 17, 18, 19, 20, 21, 22, 23}} {
			r, err := guarded("read registers", func() (*tpm2.PCRReadResponse, error) {
				return tpm2.PCRRead{PCRSelectionIn: selection(alg, group)}.Execute(d.w)
			})
			if err != nil {
				return nil, err
			}
			if first {
				counter, first = r.PCRUpdateCounter, false
			}
			if r.PCRUpdateCounter != counter || len(r.PCRValues.Digests) != len(group) {
				return nil, errMoving
			}
			for i, v := range r.PCRValues.Digests {
				out[name][int(group[i])] = v.Buffer
			}
		}
	}
	return out, nil
}

func selection(alg tpm2.TPMIAlgHash, pcrs []uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: alg, PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)}}}
}

// BootRegisters are those of firmware, loader and operating system: 0 to 15.
func BootRegisters() []uint {
	return []uint{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
}

// Attestation is a signed structure: TPMS_ATTEST and TPMT_SIGNATURE.
type Attestation struct{ Body, Signature []byte }

// Quote lets the TPM sign registers of a bank.
func (d *Device) Quote(ak *Key, bank tpm2.TPMIAlgHash, pcrs []uint, qualifying []byte) (*Attestation, error) {
	return guarded("quote", func() (*Attestation, error) {
		r, err := tpm2.Quote{
			SignHandle: d.auth(&ak.key), QualifyingData: tpm2.TPM2BData{Buffer: qualifying},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: selection(bank, pcrs),
		}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		return &Attestation{r.Quoted.Bytes(), tpm2.Marshal(r.Signature)}, nil
	})
}

// Time lets the TPM sign its time, clock and counters.
func (d *Device) Time(ak *Key, qualifying []byte) (*Attestation, error) {
	return guarded("time", func() (*Attestation, error) {
		r, err := tpm2.GetTime{
			PrivacyAdminHandle: tpm2.TPMRHEndorsement, SignHandle: d.auth(&ak.key),
			QualifyingData: tpm2.TPM2BData{Buffer: qualifying}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		return &Attestation{r.TimeInfo.Bytes(), tpm2.Marshal(r.Signature)}, nil
	})
}

// Certificates reads what makers store beside endorsement keys, by NV index.
// What cannot be read is in the second map.
func (d *Device) Certificates() (map[uint32][]byte, map[uint32]error, error) {
	const most = 24
	all, err := d.handles(nvFirst)
	if err != nil {
		return nil, nil, err
	}
	certs, failed := map[uint32][]byte{}, map[uint32]error{}
	for _, h := range all {
		if h < nvFirst || h > nvLast || !certificateIndex(h) || len(certs)+len(failed) >= most {
			continue
		}
		if data, err := d.nv(h); err != nil {
			failed[h] = err
		} else {
			certs[h] = data
		}
	}
	return certs, failed, nil
}

// certificateIndex tells indexes of certificates from those of templates and
// nonces.
func certificateIndex(h uint32) bool {
	switch {
	case h == nvRSA || h == nvECC:
		return true
	case h >= 0x01c00012 && h <= 0x01c0007f:
		return h%2 == 0
	}
	return h >= 0x01c00100
}

func (d *Device) handles(first uint32) ([]uint32, error) {
	return guarded("handles", func() ([]uint32, error) {
		r, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 254}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		l, err := r.CapabilityData.Data.Handles()
		if err != nil {
			return nil, err
		}
		var out []uint32
		for _, h := range l.Handle {
			out = append(out, uint32(h))
		}
		return out, nil
	})
}

// maxNV is the largest index that is read; a chain of certificates fits.
const maxNV = 16 << 10

func (d *Device) nv(index uint32) ([]byte, error) {
	return guarded(fmt.Sprintf("NV index 0x%08x", index), func() ([]byte, error) {
		pub, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(d.w)
		if err != nil {
			return nil, err
		}
		info, err := pub.NVPublic.Contents()
		if err != nil {
			return nil, err
		}
		if int(info.DataSize) > maxNV {
			return nil, fmt.Errorf("%d bytes exceed the limit of %d", info.DataSize, maxNV)
		}
		name := tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: pub.NVName}
		by := tpm2.AuthHandle{Handle: tpm2.TPMHandle(index), Name: pub.NVName, Auth: tpm2.PasswordAuth(nil)}
		if !info.Attributes.AuthRead && info.Attributes.OwnerRead {
			by = tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
		}
		var out []byte
		for len(out) < int(info.DataSize) {
			n := min(int(d.nvChunk), int(info.DataSize)-len(out))
			r, err := tpm2.NVRead{AuthHandle: by, NVIndex: name, Size: uint16(n), Offset: uint16(len(out))}.Execute(d.w)
			if err != nil {
				return nil, err
			}
			if len(r.Data.Buffer) != n {
				return nil, fmt.Errorf("%d bytes where %d were asked for", len(r.Data.Buffer), n)
			}
			out = append(out, r.Data.Buffer...)
		}
		return out, nil
	})
}
