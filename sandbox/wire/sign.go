package wire

import (
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Sign signs a request to S3 without its body, as the sandbox's own clients do.
func Sign(r *http.Request, c Credential, region string, at time.Time) {
	s := &signature{region: region, service: "s3", amzDate: at.UTC().Format(timeFormat), signed: []string{"host", "x-amz-content-sha256", "x-amz-date"}}
	s.date = s.amzDate[:8]
	r.Header.Set("X-Amz-Date", s.amzDate)
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	sum := hex.EncodeToString(hmacSum(s.signingKey(c.SecretAccessKey), s.stringToSign(s.canonical(r, unsignedPayload))))
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+s.scope()+", SignedHeaders="+strings.Join(s.signed, ";")+", Signature="+sum)
}
