package tpm

import (
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// NV indexes of the endorsement keys (TCG EK Credential Profile 2.5, 2.2.1.4
// and 2.2.1.5).
const (
	nvFirst, nvLast = 0x01c00000, 0x01c0ffff
	nvRSA           = 0x01c00002
	nvRSANonce      = 0x01c00003
	nvRSATemplate   = 0x01c00004
	nvECC           = 0x01c0000a
	nvECCNonce      = 0x01c0000b
	nvECCTemplate   = 0x01c0000c
	nvP384          = 0x01c00016
)

// ekKind is one way in which a TPM's maker derives an endorsement key.
type ekKind struct {
	name            string // as in a file name
	cert            uint32
	nonce, template uint32 // NV indexes that replace parts of the template; 0: none
	public          tpm2.TPMTPublic
}

// ekKinds lists the templates, the one that most TPMs are certified for first.
func ekKinds() []ekKind {
	return []ekKind{
		{"rsa-2048", nvRSA, nvRSANonce, nvRSATemplate, tpm2.RSAEKTemplate},
		{"ecc-p256", nvECC, nvECCNonce, nvECCTemplate, tpm2.ECCEKTemplate},
		{"ecc-p384", nvP384, 0, 0, p384Template()},
	}
}

// policyB is the SHA-384 policy of the high-range templates: the key is used
// with its own authorisation or under PolicySecret of the endorsement hierarchy
// (EK Credential Profile 2.5, B.6.4).
var policyB = []byte{
	0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
	0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
}

// p384Template is template H-3 (EK Credential Profile 2.5, B.4.5).
func p384Template() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA384,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, AdminWithPolicy: true, Restricted: true, Decrypt: true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: slices.Clone(policyB)},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES, KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(256)), Mode: tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP384,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// akAttributes are those of a key that never leaves its TPM and signs only
// what the TPM itself made.
func akAttributes() tpm2.TPMAObject {
	return tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
	}
}

// akECC and akRSA are the attestation key's templates.
func akECC() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: akAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

func akRSA() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgRSA, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: akAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Scheme: tpm2.TPMTRSAScheme{
				Scheme: tpm2.TPMAlgRSASSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			KeyBits: 2048,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{}),
	}
}
