{{/* What pods of all components share. */}}
{{- define "platform.pod" -}}
automountServiceAccountToken: {{ .apiToken | default false }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .root.Values.user }}
  runAsGroup: {{ .root.Values.user }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "platform.container" -}}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Go adds the folders of SSL_CERT_DIR to the image's own file of authorities. */}}
{{- define "platform.trust.env" -}}
{{- if .Values.trust.certificates }}
- {name: SSL_CERT_DIR, value: "/etc/ssl/certs:/etc/poolhouse/trust"}
{{- end }}
{{- end }}

{{- define "platform.env" -}}
{{- range $name, $value := . }}
- {name: {{ $name | quote }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/*
A component: name, values, account, priority, and of its own env, secrets (names of
secrets that it reads as files) and apiToken.
*/}}
{{- define "platform.component" -}}
{{- $root := .root -}}
{{- $labels := dict "app.kubernetes.io/name" .name "app.kubernetes.io/part-of" $root.Chart.Name -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels: {{ toJson $labels }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels: {{ toJson $labels }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels: {{ toJson $labels }}
      annotations:
        # Certificates are read once, at the start.
        poolhouse/trust: {{ sha256sum $root.Values.trust.certificates | quote }}
    spec:
      serviceAccountName: {{ .account }}
      priorityClassName: {{ .priority }}
      terminationGracePeriodSeconds: {{ add $root.Values.drain 30 }}
      {{- include "platform.pod" (dict "root" $root "apiToken" .values.apiToken) | nindent 6 }}
      # The zones that count are those of nodes which take these pods.
      topologySpreadConstraints:
        - topologyKey: topology.kubernetes.io/zone
          maxSkew: 1
          whenUnsatisfiable: DoNotSchedule
          nodeTaintsPolicy: Honor
          labelSelector:
            matchLabels: {{ toJson $labels }}
          matchLabelKeys: [pod-template-hash]
        - topologyKey: kubernetes.io/hostname
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{ toJson $labels }}
          matchLabelKeys: [pod-template-hash]
      containers:
        - name: {{ .name }}
          image: {{ .values.image | quote }}
          args: {{ toJson .values.args }}
          {{- include "platform.container" . | nindent 10 }}
          env:
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            {{- include "platform.trust.env" $root | nindent 12 }}
            {{- include "platform.env" .env | nindent 12 }}
            {{- include "platform.env" .values.env | nindent 12 }}
          ports:
            - {name: https, containerPort: 8443}
          # A component that starts is waited for until it has reached what it needs;
          # after that, what it needs may fail without taking it out.
          startupProbe:
            httpGet: {path: {{ $root.Values.probes.startup | quote }}, port: https, scheme: HTTPS}
            periodSeconds: 2
            timeoutSeconds: 20
            failureThreshold: 150
          readinessProbe:
            httpGet: {path: {{ $root.Values.probes.health | quote }}, port: https, scheme: HTTPS}
            periodSeconds: 5
            timeoutSeconds: 5
          livenessProbe:
            httpGet: {path: {{ $root.Values.probes.health | quote }}, port: https, scheme: HTTPS}
            periodSeconds: 20
            timeoutSeconds: 5
          lifecycle:
            preStop: {sleep: {seconds: {{ $root.Values.drain }}}}
          resources: {{ toJson .values.resources }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if $root.Values.trust.certificates }}
            - {name: trust, mountPath: /etc/poolhouse/trust, readOnly: true}
            {{- end }}
            {{- if $root.Values.tls.secretName }}
            - {name: tls, mountPath: /run/secrets/tls, readOnly: true}
            {{- end }}
            {{- range .secrets }}
            - {name: {{ . }}, mountPath: /run/secrets/{{ . }}, readOnly: true}
            {{- end }}
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
        {{- if $root.Values.trust.certificates }}
        - {name: trust, configMap: {name: trust}}
        {{- end }}
        {{- if $root.Values.tls.secretName }}
        - {name: tls, secret: {secretName: {{ $root.Values.tls.secretName }}}}
        {{- end }}
        {{- range .secrets }}
        - {name: {{ . }}, secret: {secretName: {{ . }}}}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .name }}
  labels: {{ toJson $labels }}
spec:
  selector: {{ toJson $labels }}
  ports:
    - {name: https, port: 8443, targetPort: https, protocol: TCP}
---
# One pod at a time may be taken, whatever their number: nodes can always be drained.
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{ toJson $labels }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ toJson $labels }}
{{- end }}

{{/* A service account that no role of AWS is for. */}}
{{- define "platform.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ . }}
automountServiceAccountToken: false
{{- end }}

{{- define "platform.binding" -}}
apiVersion: elbv2.k8s.aws/v1beta1
kind: TargetGroupBinding
metadata:
  name: {{ .name }}
spec:
  targetGroupARN: {{ .group }}
  targetType: ip
  serviceRef: {name: {{ .service }}, port: https}
{{- end }}

{{- define "platform.secret" -}}
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: {{ .name }}
spec:
  refreshInterval: {{ .root.Values.externalSecrets.refreshInterval | quote }}
  secretStoreRef: {kind: SecretStore, name: aws}
  target: {name: {{ .name }}, creationPolicy: Owner}
  data:
    {{- range .keys }}
    - secretKey: {{ . }}
      remoteRef: {key: {{ $.arn | quote }}, property: {{ . }}}
    {{- end }}
{{- end }}
