package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/bundle/archive"
	"github.com/poolhouse/poolhouse/bundle/checkpoint"
	"github.com/poolhouse/poolhouse/bundle/fault"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/transfer"
)

// PushOptions say what is pushed.
type PushOptions struct {
	// Source is a tar archive, plain or compressed by gzip or zstd, or a folder; or
	// either of them in S3: s3://BUCKET/KEY.tar, s3://BUCKET/PREFIX/.
	Source string
	// Open, if not nil, opens the bytes of an archive that is no file, from their
	// beginning each time; Source then only names it.
	Open func(context.Context) (io.ReadCloser, error)
	// Name of the checkpoint; empty is [checkpoint.NameOf] the source.
	Name string
	// Digest is what the archive should have, sha256:...; empty is what a file
	// beside it with the ending .sha256 says, if there is one.
	Digest string
	// DeleteOthers removes also such files from the checkpoint's folder as are not in
	// the source and are of no push.
	DeleteOthers bool
	// DryRun looks at source and bucket, and changes nothing.
	DryRun bool

	// Meter counts the bytes as an item of the checkpoint's name; may be nil.
	Meter *transfer.Meter
	// Limit is how fast bytes may be sent; may be nil.
	Limit *transfer.Limit
	// Say is told in words what is done besides sending; may be nil.
	Say func(text string)
}

// Pushed is what a push came to.
type Pushed struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
	// Digest is that of the source.
	Digest string `json:"digest"`
	// Unchanged says that the checkpoint was there already, from the same source.
	Unchanged bool `json:"unchanged"`
	// Replaced says that another one was there, of another source.
	Replaced bool `json:"replaced"`
	// Files and Bytes are those of the checkpoint; 0 if it is unchanged.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Sent are the bytes that were sent; those that were there are not. Copied are
	// those that S3 copied by itself.
	Sent   int64 `json:"sentBytes"`
	Copied int64 `json:"copiedBytes"`
	// Removed are files, below the checkpoint's folder, that are not in the source;
	// with DryRun they would be. Others would not: they are of no push, and keep the
	// checkpoint from being pushed.
	Removed []string `json:"removed"`
	Others  []string `json:"others"`
	// Aborted is how many unfinished uploads of earlier pushes were ended.
	Aborted int `json:"abortedUploads"`
	// DryRun says that nothing was done.
	DryRun bool `json:"dryRun"`
}

// Push brings a checkpoint into the bucket. A checkpoint from the same source that
// is there costs a HEAD of its marker and a listing for each 1,000 files (ADR 5). A
// push that was interrupted is gone on with. It does not return before all calls have
// ended, also when the context does. An error is a [StoppedError]: of the kind
// [fault.Faults] if it is the source's; others name the file that they are about. A
// push that has changed files and does not end well leaves no marker behind, also
// none that another push has written meanwhile.
func (s *Store) Push(ctx context.Context, o PushOptions) (p *Pushed, err error) {
	if o.Name == "" {
		o.Name = checkpoint.NameOf(o.Source)
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if err := checkpoint.CheckName(o.Name); err != nil {
		return nil, err
	}
	src, err := open(o)
	if err != nil {
		return nil, err
	}
	if src.remote != nil {
		src.remote.store = s
		if err := src.remote.find(ctx); err != nil {
			return nil, err
		}
		if src.remote.bucket == s.Bucket && src.remote.key == folder(o.Name) {
			return nil, fmt.Errorf("%s is the checkpoint itself: name another source", o.Source)
		}
	}
	p = &Pushed{Name: o.Name, URI: s.uri(o.Name), Removed: []string{}, Others: []string{}, DryRun: o.DryRun}
	var item *transfer.Item
	if !o.DryRun {
		item = o.Meter.Start(o.Name, src.size)
	}
	if src.remote != nil {
		src.remote.expect = item.Expect
	}
	r := &run{}
	defer func() {
		if err != nil {
			err = &StoppedError{Name: o.Name, Changed: r.changed.Load() || r.unmarked, Sent: p.Sent, Err: err}
			p = nil
		}
		item.End(err)
	}()
	there, err := s.marker(ctx, o.Name)
	if err != nil {
		return p, err
	}
	intact := false
	if there != nil {
		now, err := s.objects(ctx, folder(o.Name))
		if err != nil {
			return p, err
		}
		// What another push, or somebody by hand, has changed since is sent again.
		intact = there.over(folder(o.Name), now)
	}
	if intact && !src.stale && there.of(src.digest) {
		if src.beside != "" {
			o.Say("does not read " + o.Source + ": " + src.beside + ", which is not older, says that it has the digest " + src.digest)
		}
		p.Digest, p.Unchanged = src.digest, true
		item.Skip(max(src.size, 1))
		return p, nil
	}
	if there != nil || o.DryRun {
		// What is there stays until it is known that the source is another one, and
		// whole.
		why, what := "compare it with what is there", "comparing"
		if there == nil {
			why, what = "see what is in it", "reading"
		}
		o.Say("reads " + o.Source + " to " + why)
		comparing := o.Meter.Read(what+" "+o.Name, src.size)
		names := map[string]bool{}
		p.Digest, err = src.read(ctx, func(m archive.Member, r io.Reader) error {
			p.Files++
			p.Bytes += m.Size
			names[m.Name] = true
			if _, is := r.(*fetched); is {
				return nil // by its listing
			}
			_, err := io.Copy(io.Discard, transfer.Reader(ctx, r, comparing, nil))
			return err
		})
		comparing.End(err)
		if err != nil {
			return p, err
		}
		if intact && there.of(p.Digest) {
			p.Unchanged = true
			item.Skip(max(src.size, 1))
			return p, nil
		}
		p.Replaced = there != nil && !there.of(p.Digest)
		if err := s.spare(ctx, o, p, names); err != nil {
			return p, err
		}
		if o.DryRun {
			return p, nil
		}
		item.Expect(p.Bytes)
	}
	if there != nil {
		switch digest := there.digest(); {
		case !intact:
			o.Say("removes the marker of the checkpoint that is there, since its files have changed after it was marked")
		case digest == "":
			o.Say("removes the marker of the checkpoint that is there, which does not say what source it is of")
		default:
			o.Say("removes the marker of the checkpoint that is there, which has the digest " + digest)
		}
		r.unmarked = true // or may be, if the answer is lost
		if err := s.unmark(ctx, o.Name); err != nil {
			return p, err
		}
	}
	err = s.push(ctx, o, src, item, p, r)
	if err != nil && r.changed.Load() {
		err = errors.Join(err, s.withdraw(ctx, o.Name))
	}
	return p, err
}

// run is what a push has done so far.
type run struct {
	// changed says that it has changed files, or may have.
	changed atomic.Bool
	// unmarked says that it has removed the marker of what was there, or may have.
	unmarked bool
	// streams says that S3 does not copy the source by itself.
	streams atomic.Bool
}

// StoppedError is a push that did not end well.
type StoppedError struct {
	Name string
	// Changed says that it has changed what is there: files, or that the marker is
	// gone. If not, a checkpoint that was complete still is.
	Changed bool
	// Sent are the bytes that arrived in whole files or parts; the next push does
	// not send them again.
	Sent int64
	Err  error
}

func (e *StoppedError) Error() string { return fmt.Sprintf("push %s: %v", e.Name, e.Err) }
func (e *StoppedError) Unwrap() error { return e.Err }

// unmark removes a checkpoint's marker.
func (s *Store) unmark(ctx context.Context, name string) error {
	if _, err := s.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: aws.String(folder(name) + Marker)}); err != nil {
		return fmt.Errorf("remove its marker: %w", err)
	}
	return nil
}

// lastLook is how long a push that was stopped takes at most to withdraw a marker.
const lastLook = 10 * time.Second

// withdraw removes a marker that another push has written while this one, which did
// not end well, changed files: nobody knows whose files it is over.
func (s *Store) withdraw(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	there, err := s.marker(ctx, name)
	if err == nil && there != nil {
		err = s.unmark(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("withdraw a marker that may be over files of two sources: %w", err)
	}
	return nil
}

// push sends what is not there and marks the checkpoint as complete.
func (s *Store) push(ctx context.Context, o PushOptions, src *source, item *transfer.Item, p *Pushed, r *run) error {
	before, err := s.objects(ctx, folder(o.Name))
	if err != nil {
		return err
	}
	if p.Digest == "" {
		// Nothing of the source was read yet.
		names, total, err := src.names(ctx)
		if err != nil {
			return err
		}
		if names != nil {
			item.Expect(total)
			if err := s.sort(ctx, o, p, before, names); err != nil {
				return err
			}
		}
	}
	unfinished, err := s.uploads(ctx, folder(o.Name))
	if err != nil {
		return err
	}
	done, free := map[string]*file{}, newMemory()
	for again := (map[string]bool)(nil); again == nil || len(again) > 0; {
		c := s.sender(ctx, o.Name, item, o.Limit, free, r)
		c.there, c.unfinished = before, unfinished
		digest, err := src.read(c.ctx, func(m archive.Member, r io.Reader) error {
			if again != nil && !again[m.Name] {
				return nil
			}
			if from, is := r.(*fetched); is {
				return c.copy(m.Name, from, again == nil)
			}
			return c.send(m.Name, m.Size, r, again == nil, "")
		})
		if failed := c.close(); failed != nil {
			// It is why the reading ended, if that did.
			err = failed
		}
		p.Sent += c.bytes.Load()
		p.Copied += c.copies.Load()
		var ended *endedError
		if errors.As(err, &ended) {
			err = fault.Faults{changed(o.Source)}
		}
		if err != nil {
			return err
		}
		if p.Digest != "" && p.Digest != digest {
			return fault.Faults{changed(o.Source)}
		}
		maps.Copy(done, c.done)
		p.Digest, again = digest, c.again
	}
	p.Files, p.Bytes = len(done), 0
	for _, f := range done {
		p.Bytes += f.Size
	}
	if err := s.tidy(ctx, o, before, done, p, r); err != nil {
		return err
	}
	if err := s.settled(ctx, o.Name, done); err != nil {
		return err
	}
	record := Record{Name: o.Name, Digest: p.Digest, Pushed: s.Clock.Now().UTC()}
	for _, key := range slices.Sorted(maps.Keys(done)) {
		record.Files = append(record.Files, done[key].File)
	}
	now := map[string]object{}
	for key, f := range done {
		now[key] = object{size: f.Size, etag: f.etag}
	}
	r.changed.Store(true)
	if err := s.write(ctx, record, listing(folder(o.Name), now)); err != nil {
		return err
	}
	// Another push may have written after the first look. From here on it sees the
	// marker, and stops.
	return s.settled(ctx, o.Name, done)
}

// tidy removes what lies in the checkpoint's folder and is not its: files of a
// checkpoint that it replaces, and unfinished uploads of earlier pushes. Uploads of
// others stay, unless they are to go too.
func (s *Store) tidy(ctx context.Context, o PushOptions, before map[string]object, done map[string]*file, p *Pushed, r *run) error {
	names := map[string]bool{}
	for _, f := range done {
		names[f.Name] = true
	}
	p.Removed, p.Others = []string{}, []string{}
	if err := s.sort(ctx, o, p, before, names); err != nil {
		return err
	}
	gone := p.Removed
	p.Removed = []string{}
	for _, name := range gone {
		r.changed.Store(true)
		if _, err := s.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: aws.String(folder(o.Name) + name)}); err != nil {
			return fmt.Errorf("remove %s, which is not in %s: %w", name, o.Source, err)
		}
		p.Removed = append(p.Removed, name)
	}
	// Those of this push too whose begin was answered twice.
	stale, err := s.uploads(ctx, folder(o.Name))
	if err != nil {
		return err
	}
	ours, err := s.ours(ctx, o, stale, names)
	if err != nil {
		return err
	}
	for _, key := range ours {
		n, err := s.abort(ctx, stale[key])
		p.Aborted += n
		if err != nil {
			return err
		}
	}
	return nil
}

// ours are the keys of unfinished uploads that a push may end: of files that are in the
// source, or that a push has recorded; or all, if what is others' is to go too.
func (s *Store) ours(ctx context.Context, o PushOptions, stale map[string][]types.MultipartUpload, names map[string]bool) ([]string, error) {
	keys := slices.Sorted(maps.Keys(stale))
	other := func(key string) bool { return !names[strings.TrimPrefix(key, folder(o.Name))] }
	if o.DeleteOthers || !slices.ContainsFunc(keys, other) {
		return keys, nil
	}
	known, err := s.recorded(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(key string) bool { return other(key) && !known[strings.TrimPrefix(key, folder(o.Name))] }), nil
}

// recorded are the names of the files that the last push has recorded.
func (s *Store) recorded(ctx context.Context, name string) (map[string]bool, error) {
	r, err := s.lastRecord(ctx, name)
	known := map[string]bool{}
	for _, f := range r.Files {
		known[f.Name] = true
	}
	return known, err
}

// known are those of some files that a push has recorded, or has written without coming
// so far.
func (s *Store) known(ctx context.Context, name string, files []string) (map[string]bool, error) {
	known, err := s.recorded(ctx, name)
	if err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(files), func(file string) bool { return known[file] })
	written := make([]bool, len(left))
	err = each(ctx, len(left), func(ctx context.Context, i int) error {
		key := folder(name) + left[i]
		out, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.Bucket, Key: &key})
		switch {
		case awsapi.IsNotFound(err):
			written[i] = true // and gone
		case err != nil:
			return fmt.Errorf("look whether a push has written s3://%s/%s: %w", s.Bucket, key, err)
		default:
			written[i] = out.Metadata[metaPushed] == pushed(key)
		}
		return nil
	})
	for i, file := range left {
		known[file] = written[i]
	}
	return known, err
}

// spare looks which files a push would remove, before it changes anything.
func (s *Store) spare(ctx context.Context, o PushOptions, p *Pushed, names map[string]bool) error {
	before, err := s.objects(ctx, folder(o.Name))
	if err != nil {
		return err
	}
	err = s.sort(ctx, o, p, before, names)
	var others *OthersError
	if o.DryRun && errors.As(err, &others) {
		return nil // it says so itself
	}
	return err
}

// sort tells the files that are there and not in the source, those of a push from those
// that are somebody's. The latter are an [OthersError], unless they are to be removed
// too.
func (s *Store) sort(ctx context.Context, o PushOptions, p *Pushed, before map[string]object, names map[string]bool) error {
	var rest []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if name := strings.TrimPrefix(key, folder(o.Name)); !names[name] && name != Marker {
			rest = append(rest, name)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	var known map[string]bool
	if !o.DeleteOthers {
		var err error
		if known, err = s.known(ctx, o.Name, rest); err != nil {
			return err
		}
	}
	for _, name := range rest {
		if o.DeleteOthers || known[name] {
			p.Removed = append(p.Removed, name)
		} else {
			p.Others = append(p.Others, name)
		}
	}
	if len(p.Others) > 0 {
		return &OthersError{Name: o.Name, URI: p.URI, Source: o.Source, Files: p.Others}
	}
	return nil
}

// OthersError says that files lie in a checkpoint's folder that are not in the source
// and are of no push.
type OthersError struct {
	Name, URI, Source string
	Files             []string
}

func (e *OthersError) Error() string {
	list, more := e.Files, ""
	if len(list) > 5 {
		list, more = list[:5], fmt.Sprintf(" and %d more", len(list)-5)
	}
	return fmt.Sprintf("in %s lie files that are not in %s and that no push has recorded: %s%s", e.URI, e.Source, strings.Join(list, ", "), more)
}

// settled looks at all of a checkpoint's files once more: what is marked as
// complete is what was sent.
func (s *Store) settled(ctx context.Context, name string, done map[string]*file) error {
	now, err := s.objects(ctx, folder(name))
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(done)) {
		f := done[key]
		if o, ok := now[key]; !ok || o.size != f.Size || o.etag != f.etag {
			return &meddledError{f.Name}
		}
		delete(now, key)
	}
	delete(now, folder(name)+Marker)
	for _, key := range slices.Sorted(maps.Keys(now)) {
		return &meddledError{strings.TrimPrefix(key, folder(name))}
	}
	return nil
}

// meddledError says that somebody else has written into a checkpoint's folder.
type meddledError struct{ file string }

func (e *meddledError) Error() string {
	if e.file == Marker {
		return "another push of this checkpoint has marked it as complete meanwhile; repeat the command when nobody else pushes it"
	}
	return fmt.Sprintf("file %s was written or removed by somebody else meanwhile; repeat the command when nobody else pushes this checkpoint", e.file)
}

// Gone tells that an error says that a checkpoint is not there.
func Gone(err error) bool {
	var gone *goneError
	return errors.As(err, &gone) || awsapi.IsNotFound(err)
}

// goneError says that there is no such checkpoint.
type goneError struct{ name, bucket string }

func (e *goneError) Error() string {
	return fmt.Sprintf("there is no checkpoint %s in bucket %s", e.name, e.bucket)
}
