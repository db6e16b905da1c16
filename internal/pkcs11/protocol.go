package pkcs11

// The program assay-pkcs11 reads one Request, JSON, from standard input, writes
// one Response to standard output, and ends. Exit code 0 says that a response
// was written; an error that a person can mend is in it.

// Version of what is said.
const Version = 1

// Program is the name of the program that speaks to tokens.
const Program = "assay-pkcs11"

// MaxMessage bounds a request and a response.
const MaxMessage = 64 << 10

// The operations of a Request.
const (
	Public = "public" // return the public key
	Sign   = "sign"   // sign a digest
)

// Request asks for one thing about one key.
type Request struct {
	Version   int    `json:"version"`
	Operation string `json:"operation"`
	URI       string `json:"uri"`
	PIN       string `json:"pin,omitempty"` // empty: do not log in

	Digest     []byte `json:"digest,omitempty"`
	Hash       string `json:"hash,omitempty"`       // "SHA-256", "SHA-384" or "SHA-512": what Digest was made with
	PSS        bool   `json:"pss,omitempty"`        // RSA-PSS instead of PKCS #1 v1.5
	SaltLength int    `json:"saltLength,omitempty"` // of RSA-PSS, in bytes
}

// Response is the answer.
type Response struct {
	Version   int    `json:"version"`
	PublicKey []byte `json:"publicKey,omitempty"` // SubjectPublicKeyInfo, DER
	Signature []byte `json:"signature,omitempty"` // ECDSA: ASN.1 SEQUENCE of r and s
	Error     string `json:"error,omitempty"`
}
