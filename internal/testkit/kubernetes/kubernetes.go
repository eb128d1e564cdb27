// Package kubernetes is a Kubernetes API in memory, for tests of what speaks to one on
// virtual time: it lists in pages, gives, makes, patches and deletes objects, tells
// which kinds it has, and holds deletions up by finalizers.
//
// Invariants: a deletion names the uid that it means, or is refused as a conflict if
// another object has the name; an object goes when it is being deleted and has no
// finalizers; what it owns goes after it. A claim is held by pods that use it; with it
// its volume is released.
//
// Limits: no watches, no versions of objects, no schemas, and no permissions: whoever
// shows a token may do everything. Pods end at once, and none are made.
// https://kubernetes.io/docs/reference/using-api/api-concepts/
package kubernetes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Object is one of the API's, as JSON has it.
type Object = map[string]any

// kind is a resource that the API has.
type kind struct {
	name, kind string
	namespaced bool
}

// protection is the finalizer of claims that pods use.
const protection = "kubernetes.io/pvc-protection"

// API is safe for concurrent use.
type API struct {
	// Before is told of each write before it is done, and the status that it returns
	// is answered in its stead unless that is 0; After is told once it is done, and
	// the connection is cut if it returns true. Reads is Before for reads. All may be
	// nil.
	Before func(method, path string) (status int)
	After  func(method, path string) (cut bool)
	Reads  func(path string) (status int)
	// Token makes the token of a service account; nil makes none.
	Token func(namespace, account string) string

	mu      sync.Mutex
	kinds   map[string][]kind // by the path of a group's version
	objects map[string]Object // by path
	made    int
}

// New is an API with the kinds of Kubernetes that controllers of the cloud have to do
// with, and those that bear a group's version, "elbv2.k8s.aws/v1beta1", besides.
func New(custom map[string]map[string]string) *API {
	a := &API{objects: map[string]Object{}, kinds: map[string][]kind{
		"/api/v1": {
			{"services", "Service", true},
			{"pods", "Pod", true},
			{"secrets", "Secret", true},
			{"serviceaccounts", "ServiceAccount", true},
			{"persistentvolumeclaims", "PersistentVolumeClaim", true},
			{"persistentvolumes", "PersistentVolume", false},
			{"nodes", "Node", false},
			{"pods/log", "Pod", true},
		},
		"/apis/apps/v1":              {{"deployments", "Deployment", true}, {"replicasets", "ReplicaSet", true}, {"statefulsets", "StatefulSet", true}},
		"/apis/networking.k8s.io/v1": {{"ingresses", "Ingress", true}},
		"/apis/policy/v1":            {{"poddisruptionbudgets", "PodDisruptionBudget", true}},
		"/apis/discovery.k8s.io/v1":  {{"endpointslices", "EndpointSlice", true}},
	}}
	for version, kinds := range custom {
		for name, k := range kinds {
			a.kinds["/apis/"+version] = append(a.kinds["/apis/"+version], kind{name, k, true})
		}
	}
	return a
}

// Put makes an object of JSON, at "/api/v1/namespaces/shop/services/web", and returns
// its uid. A claim is held by a finalizer as Kubernetes has it.
func (a *API) Put(path, text string) (uid string) {
	var o Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(fmt.Sprintf("object %s: %v", path, err)) // the test's own text
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.put(path, o)
}

func (a *API) put(path string, o Object) string {
	parts := strings.Split(path, "/")
	m := part(o, "metadata")
	m["name"] = parts[len(parts)-1]
	if n := slices.Index(parts, "namespaces"); n > 0 {
		m["namespace"] = parts[n+1]
	}
	a.made++
	m["uid"] = fmt.Sprintf("uid-%04d", a.made)
	if strings.Contains(path, "/persistentvolumeclaims/") {
		m["finalizers"] = append(list(m["finalizers"]), protection)
	}
	a.objects[path] = o
	return str(m["uid"])
}

// Paths are where objects are.
func (a *API) Paths() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.objects))
}

// Get is a copy of an object, or nil.
func (a *API) Get(path string) (o Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text, err := json.Marshal(a.objects[path])
	if err != nil || a.objects[path] == nil || json.Unmarshal(text, &o) != nil {
		return nil
	}
	return o
}

// Clone is another API with the same kinds and objects, as they are at this moment.
func (a *API) Clone() *API {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &API{kinds: a.kinds, objects: map[string]Object{}, made: a.made}
	for path, o := range a.objects {
		c.objects[path] = copied(o).(Object)
	}
	return c
}

// copied is a value of JSON that shares nothing with another.
func copied(v any) any {
	switch v := v.(type) {
	case Object:
		o := Object{}
		for k, x := range v {
			o[k] = copied(x)
		}
		return o
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = copied(x)
		}
		return l
	}
	return v
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	if r.Method == http.MethodGet {
		if a.Reads != nil {
			if status := a.Reads(path); status != 0 {
				refuse(w, status, "not for you")
				return
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.read(w, r, path)
		return
	}
	if a.Before != nil {
		if status := a.Before(r.Method, path); status != 0 {
			refuse(w, status, "not now")
			return
		}
	}
	var body Object
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	a.mu.Lock()
	status, answer := a.write(r.Method, path, body)
	text, err := json.Marshal(answer)
	a.mu.Unlock()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if a.After != nil && a.After(r.Method, path) {
		panic(http.ErrAbortHandler) // no answer
	}
	if status >= http.StatusBadRequest {
		refuse(w, status, str(answer["message"]))
		return
	}
	give(w, status, json.RawMessage(text))
}

func (a *API) read(w http.ResponseWriter, r *http.Request, path string) {
	if o := a.objects[path]; o != nil {
		give(w, http.StatusOK, o)
		return
	}
	if kinds, ok := a.kinds[path]; ok {
		var all []Object
		for _, k := range kinds {
			all = append(all, Object{"name": k.name, "kind": k.kind, "namespaced": k.namespaced})
		}
		give(w, http.StatusOK, Object{"kind": "APIResourceList", "groupVersion": strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/"), "resources": all})
		return
	}
	base, plural := path[:max(0, strings.LastIndex(path, "/"))], path[strings.LastIndex(path, "/")+1:]
	within := base + "/" // what is listed
	if group, namespace, ok := strings.Cut(base, "/namespaces/"); ok && !strings.Contains(namespace, "/") {
		base = group
	}
	if !slices.ContainsFunc(a.kinds[base], func(k kind) bool { return k.name == plural }) {
		refuse(w, http.StatusNotFound, "the server could not find the requested resource")
		return
	}
	var all []Object
	for _, at := range slices.Sorted(maps.Keys(a.objects)) {
		if strings.HasPrefix(at, within) && strings.Contains(at, "/"+plural+"/") && chosen(a.objects[at], r.URL.Query().Get("labelSelector")) {
			all = append(all, a.objects[at])
		}
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = len(all)
	}
	next := ""
	if from = min(from, len(all)); from+limit < len(all) {
		next = strconv.Itoa(from + limit)
	}
	some := all[from:min(from+limit, len(all))]
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		for i, o := range some {
			some[i] = Object{"metadata": o["metadata"]}
		}
	}
	give(w, http.StatusOK, Object{"metadata": Object{"continue": next}, "items": some})
}

// chosen tells whether a selector "key=value" takes an object.
func chosen(o Object, selector string) bool {
	k, v, _ := strings.Cut(selector, "=")
	return selector == "" || str(part(part(o, "metadata"), "labels")[k]) == v
}

// write carries out a write. The caller holds mu.
func (a *API) write(method, path string, body Object) (status int, answer Object) {
	if account, ok := strings.CutSuffix(path, "/token"); ok && method == http.MethodPost {
		return a.token(account)
	}
	if method == http.MethodPost {
		path += "/" + str(part(body, "metadata")["name"])
		if a.objects[path] != nil {
			return http.StatusConflict, Object{"message": "already exists"}
		}
		a.put(path, body)
		a.bind(path, body)
		return http.StatusCreated, body
	}
	path = strings.TrimSuffix(path, "/status")
	o := a.objects[path]
	if o == nil {
		return http.StatusNotFound, Object{"message": path + " not found"}
	}
	meant := str(part(body, "preconditions")["uid"])
	if method == http.MethodPatch {
		meant = str(part(body, "metadata")["uid"])
	}
	if uid := str(part(o, "metadata")["uid"]); meant != "" && meant != uid {
		return http.StatusConflict, Object{"message": "the UID in the precondition does not match the UID in record " + uid}
	}
	switch method {
	case http.MethodPatch:
		merge(o, body)
	case http.MethodDelete:
		if m := part(o, "metadata"); m["deletionTimestamp"] == nil {
			m["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		}
	default:
		return http.StatusMethodNotAllowed, Object{"message": method}
	}
	a.settle()
	return http.StatusOK, o
}

// token answers the request for a token of the account at a path.
func (a *API) token(path string) (status int, answer Object) {
	o := a.objects[path]
	if o == nil || a.Token == nil || !strings.Contains(path, "/serviceaccounts/") {
		return http.StatusNotFound, Object{"message": path + " not found"}
	}
	m := part(o, "metadata")
	return http.StatusCreated, Object{"status": Object{"token": a.Token(str(m["namespace"]), str(m["name"]))}}
}

// bind gives the claim that a volume names the volume.
func (a *API) bind(path string, o Object) {
	ref := part(part(o, "spec"), "claimRef")
	if !strings.Contains(path, "/persistentvolumes/") {
		return
	}
	if c := a.objects["/api/v1/namespaces/"+str(ref["namespace"])+"/persistentvolumeclaims/"+str(ref["name"])]; c != nil {
		part(c, "spec")["volumeName"] = part(o, "metadata")["name"]
		part(c, "status")["phase"], part(o, "status")["phase"] = "Bound", "Bound"
	}
}

// settle takes away what is being deleted and nothing holds, until nothing changes.
func (a *API) settle() {
	for again := true; again; {
		again = false
		for _, path := range slices.Sorted(maps.Keys(a.objects)) {
			o := a.objects[path]
			m := part(o, "metadata")
			if m["deletionTimestamp"] == nil {
				continue
			}
			if strings.Contains(path, "/persistentvolumeclaims/") && !a.used(str(m["namespace"]), str(m["name"])) {
				m["finalizers"] = slices.DeleteFunc(list(m["finalizers"]), func(f any) bool { return f == protection })
			}
			if len(list(m["finalizers"])) > 0 {
				continue
			}
			delete(a.objects, path)
			again = true
			a.orphaned(str(m["uid"]))
			if volume := a.objects["/api/v1/persistentvolumes/"+str(part(o, "spec")["volumeName"])]; volume != nil && strings.Contains(path, "/persistentvolumeclaims/") {
				part(volume, "status")["phase"] = "Released"
			}
		}
	}
}

// used tells that a pod uses a claim.
func (a *API) used(namespace, claim string) bool {
	for path, o := range a.objects {
		if !strings.Contains(path, "/namespaces/"+namespace+"/pods/") {
			continue
		}
		for _, v := range list(part(o, "spec")["volumes"]) {
			if m, ok := v.(Object); ok && str(part(m, "persistentVolumeClaim")["claimName"]) == claim {
				return true
			}
		}
	}
	return false
}

// orphaned has what an object owned go too.
func (a *API) orphaned(uid string) {
	for _, o := range a.objects {
		m := part(o, "metadata")
		for _, r := range list(m["ownerReferences"]) {
			if ref, ok := r.(Object); ok && str(ref["uid"]) == uid && m["deletionTimestamp"] == nil {
				m["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
			}
		}
	}
}

// merge is JSON Merge Patch, https://www.rfc-editor.org/rfc/rfc7396.
func merge(to, patch Object) {
	for k, v := range patch {
		m, is := v.(Object)
		switch {
		case v == nil:
			delete(to, k)
		case is:
			merge(part(to, k), m)
		default:
			to[k] = v
		}
	}
}

// part is an object in another one, made if it isn't there.
func part(o Object, key string) Object {
	m, ok := o[key].(Object)
	if !ok {
		m = Object{}
		o[key] = m
	}
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func refuse(w http.ResponseWriter, status int, message string) {
	give(w, status, Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": cmp.Or(message, http.StatusText(status))})
}

func give(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(v)
}
