package s3

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TypeUpload is a multipart upload that goes on. Its id is the upload's; Data
// holds its bucket and key, the headers of the object to be, and its parts by
// their numbers: etag, size, modified, bodies, headers.
const TypeUpload = "s3:upload"

// What AWS sets for parts.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
const (
	maxParts = 10000
	minPart  = 5 << 20
)

// uploads are those of a bucket, in order of their keys, then of their
// beginnings.
func uploads(tx *account.Tx, bucket string) []*account.Resource {
	list := tx.Where(TypeUpload, "bucket", func(u *account.Resource) string { return props.Str(u.Data, "bucket") }, bucket)
	slices.SortStableFunc(list, func(a, b *account.Resource) int {
		if c := strings.Compare(props.Str(a.Data, "key"), props.Str(b.Data, "key")); c != 0 {
			return c
		}
		return a.Created.Compare(b.Created)
	})
	return list
}

// upload is the one that a request names, of the request's key.
func upload(tx *account.Tx, r *wire.Request, b *account.Resource) (*account.Resource, error) {
	u := tx.Get(TypeUpload, r.String("uploadId"))
	if u == nil || props.Str(u.Data, "bucket") != b.ID || props.Str(u.Data, "key") != r.String("Key") {
		return nil, errorf("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return u, nil
}

// partsOf are the parts of an upload by their numbers, in order.
func partsOf(u *account.Resource) (numbers []int, parts map[int]map[string]any) {
	parts = map[int]map[string]any{}
	for n, p := range props.Map(u.Data, "parts") {
		if part, ok := p.(map[string]any); ok {
			parts[whole(n)] = part
		}
	}
	return slices.Sorted(maps.Keys(parts)), parts
}

func createUpload(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	key, h := r.String("Key"), headers(r)
	kept, err := admitObject(tx, b, key, h)
	if err != nil {
		return nil, err
	}
	sum, err := checksumOf(h)
	if err != nil {
		return nil, err
	}
	if err := lock(tx, b, withChecksum(h), version{}); err != nil {
		return nil, err
	}
	for k := range kept {
		if strings.HasPrefix(k, "x-amz-checksum-") {
			delete(kept, k)
		}
	}
	asked := map[string]any{}
	for _, k := range []string{"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"} {
		if h[k] != "" {
			asked[k] = h[k]
		}
	}
	u := &account.Resource{
		Type: TypeUpload, ID: tx.HexID(64), Owner: tx.Caller, Props: map[string]any{}, Attrs: map[string]any{}, Tags: map[string]string{},
		Data: map[string]any{"bucket": b.ID, "key": key, "headers": kept, "lock": asked, "parts": map[string]any{}, "algorithm": sum.algorithm, "whole": sum.whole},
	}
	tx.Put(u)
	out := http.Header(answer("Content-Type", "application/xml"))
	encrypted(out, kept)
	if sum.algorithm != "" {
		out.Set("X-Amz-Checksum-Algorithm", strings.ToUpper(sum.algorithm))
		out.Set("X-Amz-Checksum-Type", sum.kind())
	}
	return document(out, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Xmlns    string   `xml:"xmlns,attr"`
		Bucket   string
		Key      string
		UploadId string
	}{Xmlns: namespace, Bucket: b.ID, Key: key, UploadId: u.ID})
}

// withChecksum are headers as if they had a checksum: parts have their own.
func withChecksum(h map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, h)
	out["x-amz-checksum-crc32"] = "of the parts"
	return out
}

// encrypted tells how what was kept is encrypted.
func encrypted(out http.Header, kept map[string]any) {
	for k, x := range kept {
		if strings.HasPrefix(k, "x-amz-server-side-encryption") {
			out.Set(k, props.Str(x))
		}
	}
}

// document is an XML answer with headers of its own.
func document(out http.Header, v any) (any, error) {
	content, err := xml.Marshal(v)
	out.Set("Content-Type", "application/xml")
	return wire.Raw{Header: out, Body: append([]byte(xml.Header), content...)}, err
}

func admitPart(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	if n := r.Int("partNumber", 0); n < 1 || n > maxParts {
		return nil, errorf("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	u, err := upload(tx, r, b)
	if err != nil {
		return nil, err
	}
	if err := customerKey(b, headers(r)); err != nil {
		return nil, err
	}
	// A part is encrypted with the upload's key, and read again at the end.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
	if key := props.Str(u.Data, "headers", "x-amz-server-side-encryption-aws-kms-key-id"); key != "" {
		for _, action := range []string{"kms:GenerateDataKey", "kms:Decrypt"} {
			if _, err := usable(tx, b, r.String("Key"), key, action); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// keepPart makes what was received a part of its upload.
func (a *api) keepPart(tx *account.Tx, r *wire.Request, b *account.Resource) (http.Header, error) {
	u, err := upload(tx, r, b)
	if err != nil {
		return nil, err
	}
	w, number := workOf(r), strconv.Itoa(r.Int("partNumber", 0))
	parts := props.Map(u.Data, "parts")
	if old, ok := parts[number].(map[string]any); ok {
		a.forget(r, bodies(old))
	}
	sums := map[string]any{}
	out := http.Header{}
	for k, v := range headers(r) {
		if isChecksum(k) {
			sums[k] = v
			out.Set(k, v)
		}
	}
	if w.sum != "" {
		sums["x-amz-checksum-"+w.algorithm] = w.sum
	}
	parts[number] = map[string]any{"etag": w.etag(), "size": int(w.body.Size), "modified": tx.Now(), "bodies": []any{w.body.value()}, "headers": sums}
	u.Data["parts"] = parts
	encrypted(out, props.Map(u.Data, "headers"))
	return out, nil
}

func (a *api) uploadPart(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	out, err := a.keepPart(tx, r, b)
	if err != nil {
		return nil, err
	}
	out.Set("Etag", workOf(r).etag())
	return wire.Raw{Header: out}, nil
}

func admitPartCopy(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	if _, err := admitPart(tx, r, b); err != nil {
		return nil, err
	}
	w, err := sourced(tx, r)
	if err != nil {
		return nil, err
	}
	u, err := upload(tx, r, b)
	if err == nil {
		w.algorithm = props.Str(u.Data, "algorithm")
	}
	return nil, err
}

func (a *api) uploadPartCopy(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	out, err := a.keepPart(tx, r, b)
	if err != nil {
		return nil, err
	}
	w := workOf(r)
	answer := struct {
		XMLName                                                                        xml.Name `xml:"CopyPartResult"`
		ETag                                                                           string
		LastModified                                                                   time.Time
		ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 string `xml:",omitempty"`
	}{ETag: w.etag(), LastModified: tx.Now().UTC()}
	if to, ok := map[string]*string{"crc32": &answer.ChecksumCRC32, "crc32c": &answer.ChecksumCRC32C, "crc64nvme": &answer.ChecksumCRC64NVME, "sha1": &answer.ChecksumSHA1, "sha256": &answer.ChecksumSHA256}[w.algorithm]; ok {
		*to = w.sum
	}
	return document(out, answer)
}

// given is a list of parts as who completes an upload gives it.
type given struct {
	Parts []struct {
		PartNumber                                                                     int
		ETag                                                                           string
		ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 string
	} `xml:"Part"`
}

// completeUpload makes an object of an upload's parts.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func (a *api) completeUpload(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	u, err := upload(tx, r, b)
	if err != nil {
		return nil, err
	}
	key, h := r.String("Key"), headers(r)
	var in given
	if err := xml.Unmarshal(r.Body, &in); err != nil || len(in.Parts) == 0 || len(in.Parts) > maxParts {
		return nil, malformed()
	}
	if err := precondition(tx, b, key, h); err != nil {
		return nil, err
	}
	_, parts := partsOf(u)
	var chosen, sizes []any
	var taken []map[string]any
	size, last, sums := 0, 0, md5.New()
	for i, g := range in.Parts {
		p := parts[g.PartNumber]
		switch {
		case g.PartNumber <= last:
			return nil, errorf("InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number.")
		case p == nil, strings.Trim(g.ETag, `"`) != strings.Trim(props.Str(p, "etag"), `"`), !sameSums(p, g.ChecksumCRC32, g.ChecksumCRC32C, g.ChecksumCRC64NVME, g.ChecksumSHA1, g.ChecksumSHA256):
			return nil, errorf("InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
		case i < len(in.Parts)-1 && props.Int(p, 0, "size") < minPart:
			return nil, errorf("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		last = g.PartNumber
		raw, err := hex.DecodeString(strings.Trim(props.Str(p, "etag"), `"`))
		if err != nil {
			return nil, fmt.Errorf("read the ETag of part %d: %w", last, err)
		}
		sums.Write(raw)
		size += props.Int(p, 0, "size")
		chosen, sizes, taken = append(chosen, props.List(p, "bodies")...), append(sizes, props.Int(p, 0, "size")), append(taken, p)
		delete(parts, g.PartNumber)
	}
	kept := maps.Clone(props.Map(u.Data, "headers"))
	sum := checksum{algorithm: props.Str(u.Data, "algorithm"), whole: u.Data["whole"] == true}
	if err := sum.complete(taken, h, kept); err != nil {
		return nil, err
	}
	v := version{"size": size, "etag": fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sums.Sum(nil)), len(in.Parts)), "bodies": chosen, "parts": sizes, "headers": kept}
	asked := withChecksum(nil)
	for k, x := range props.Map(u.Data, "lock") {
		asked[k] = props.Str(x)
	}
	if err := lock(tx, b, asked, v); err != nil {
		return nil, err
	}
	freed := add(tx, b, key, v)
	for _, p := range parts {
		freed = append(freed, bodies(p)...)
	}
	a.forget(r, freed)
	tx.Drop(TypeUpload, u.ID)
	out := made(b, v)
	fields := map[string]any{"Location": "https://" + b.ID + ".s3." + tx.Region() + ".amazonaws.com/" + key, "Bucket": b.ID, "Key": key, "ETag": v["etag"]}
	told(out, kept, fields)
	return wire.Headed{Header: out, Out: wire.Document{Root: "CompleteMultipartUploadResult", Fields: fields}}, nil
}

func (a *api) abortUpload(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	u, err := upload(tx, r, b)
	if err != nil {
		return nil, err
	}
	_, parts := partsOf(u)
	for _, p := range parts {
		a.forget(r, bodies(p))
	}
	tx.Drop(TypeUpload, u.ID)
	return wire.Raw{Status: http.StatusNoContent}, nil
}

func listParts(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	u, err := upload(tx, r, b)
	if err != nil {
		return nil, err
	}
	most, after := min(r.Int("max-parts", 1000), 1000), r.Int("part-number-marker", 0)
	numbers, parts := partsOf(u)
	var shown wire.Flat
	next, truncated := 0, false
	for _, n := range numbers {
		if n <= after {
			continue
		}
		if truncated = len(shown) >= most; truncated {
			break
		}
		p := parts[n]
		m := map[string]any{"PartNumber": n, "LastModified": p["modified"], "ETag": p["etag"], "Size": p["size"]}
		for k, x := range props.Map(p, "headers") {
			m["Checksum"+strings.ToUpper(strings.TrimPrefix(k, "x-amz-checksum-"))] = x
		}
		shown, next = append(shown, m), n
	}
	return wire.Document{Root: "ListPartsResult", Fields: map[string]any{
		"Bucket": b.ID, "Key": props.Str(u.Data, "key"), "UploadId": u.ID, "PartNumberMarker": after, "NextPartNumberMarker": next, "MaxParts": most, "IsTruncated": truncated,
		"Part": shown, "Initiator": initiator(u), "Owner": owner(tx), "StorageClass": class(u.Data),
	}}, nil
}

func initiator(u *account.Resource) map[string]any { return map[string]any{"ID": u.Owner} }

func listMultipartUploads(tx *account.Tx, r *wire.Request, b *account.Resource) (any, error) {
	l, err := newListing(r)
	if err != nil {
		return nil, err
	}
	l.max = max(min(r.Int("max-uploads", 1000), 1000), 1)
	keyMarker, idMarker := r.String("key-marker"), r.String("upload-id-marker")
	var shown wire.Flat
	passed, lastID := idMarker == "", ""
	for _, u := range uploads(tx, b.ID) {
		key := props.Str(u.Data, "key")
		if key < keyMarker || key == keyMarker && !passed {
			passed = passed || u.ID == idMarker
			continue
		}
		if key == keyMarker && idMarker == "" {
			continue
		}
		if !l.take(key, keyMarker) {
			continue
		}
		lastID = u.ID
		shown = append(shown, map[string]any{"UploadId": u.ID, "Key": l.encode(key), "Initiated": u.Created, "StorageClass": class(u.Data), "Owner": owner(tx), "Initiator": initiator(u)})
	}
	fields := map[string]any{
		"Bucket": b.ID, "Prefix": l.encode(l.prefix), "Delimiter": none(l.encode(l.delimiter)), "EncodingType": l.encoding, "KeyMarker": l.encode(keyMarker), "UploadIdMarker": idMarker,
		"MaxUploads": l.max, "IsTruncated": l.truncated, "Upload": shown, "CommonPrefixes": l.prefixes,
	}
	if l.truncated {
		fields["NextKeyMarker"], fields["NextUploadIdMarker"] = l.encode(l.last), none(lastID)
	}
	return wire.Document{Root: "ListMultipartUploadsResult", Fields: fields}, nil
}
