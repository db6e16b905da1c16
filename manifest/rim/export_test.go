package rim

import (
	"crypto/x509"

	"github.com/assay-hw/assay/internal/xmldsig"
)

func signTag(doc []byte, h *holder) ([]byte, error) {
	return xmldsig.Sign(doc, h.key, []*x509.Certificate{h.cert}, xmlLimits())
}
