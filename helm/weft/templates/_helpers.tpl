{{- define "weft.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "weft.gateway" -}}{{ include "weft.fullname" . }}-gateway{{- end -}}
{{- define "weft.executor" -}}{{ include "weft.fullname" . }}-executor{{- end -}}

{{/* dict "root" $ "component" "gateway" */}}
{{- define "weft.selector" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "weft.labels" -}}
{{ include "weft.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Without the chart's version: a new chart with the same pods must not replace them. */}}
{{- define "weft.podLabels" -}}
{{ include "weft.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weft
{{- end -}}

{{- define "weft.image" -}}
{{- $image := .image -}}
{{- $name := $image.repository -}}
{{- with .root.Values.imageRegistry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "weft.serviceAccount" -}}
{{- if .values.serviceAccount.create -}}
{{- default .name .values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The URL of the bus, empty where a secret holds it. */}}
{{- define "weft.busUrl" -}}
{{- $chosen := 0 -}}
{{- range list .Values.bus.url .Values.bus.urlSecret.name .Values.bus.trial -}}{{- if . }}{{ $chosen = add1 $chosen }}{{ end -}}{{- end -}}
{{- if ne (int $chosen) 1 -}}
{{- fail "bus: set exactly one of bus.url, bus.urlSecret.name and bus.trial" -}}
{{- end -}}
{{- if eq .Values.bus.trial "nats" -}}
nats://{{ include "weft.fullname" . }}-nats:4222
{{- else if eq .Values.bus.trial "redis" -}}
redis://{{ include "weft.fullname" . }}-redis:6379
{{- else -}}
{{- .Values.bus.url -}}
{{- end -}}
{{- end -}}

{{- define "weft.isMemory" -}}{{- if hasPrefix "memory:" .Values.bus.url -}}true{{- end -}}{{- end -}}

{{/* How long a gateway takes to leave; the one place where the sum is made. */}}
{{- define "weft.gatewayGrace" -}}
{{- $drain := .Values.gateway.drain -}}
{{- add $drain.preStopSeconds $drain.delaySeconds $drain.windowSeconds $drain.marginSeconds -}}
{{- end -}}

{{- define "weft.executorGrace" -}}
{{- add .Values.executor.drain.windowSeconds .Values.executor.drain.marginSeconds -}}
{{- end -}}

{{/* A quantity of Kubernetes in bytes. */}}
{{- define "weft.bytes" -}}
{{- if kindIs "string" . -}}
{{- $units := dict "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]+$" .) | default 1) | int64 -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}

{{/* What a full gateway takes, in bytes, by the rules of Sizing in docs/OPERATIONS.md. */}}
{{- define "weft.gatewayMemory" -}}
{{- $logs := get .Values.gateway.env "WEFT_LOGS_BYTES_MAX" -}}
{{- if kindIs "map" $logs -}}{{- $logs = 0 -}}{{- end -}}
{{- add (mul 2 (default 268435456 $logs | int64)) 100000000 (mul 10000 (int64 .Values.gateway.connectionsMax)) -}}
{{- end -}}

{{- define "weft.minReadySeconds" -}}
{{- if kindIs "invalid" .Values.gateway.minReadySeconds -}}
{{- add .Values.gateway.drain.delaySeconds .Values.gateway.drain.windowSeconds -}}
{{- else -}}
{{- .Values.gateway.minReadySeconds -}}
{{- end -}}
{{- end -}}

{{/* What gateways and executors are told alike, as a dict in YAML. */}}
{{- define "weft.commonEnv" -}}
{{- $bus := .Values.bus -}}
{{- $url := include "weft.busUrl" . -}}
{{- if $bus.urlSecret.name }}
WEFT_BUS: {secretKeyRef: {name: {{ $bus.urlSecret.name }}, key: {{ $bus.urlSecret.key }}}}
{{- else }}
WEFT_BUS: {{ $url | quote }}
{{- end }}
WEFT_BUS_PREFIX: {{ $bus.prefix | quote }}
WEFT_BUS_REPLICAS: {{ $bus.streamReplicas | int64 | quote }}
WEFT_RETENTION_EVENTS: {{ $bus.retention.events | int64 | quote }}
WEFT_RETENTION_BYTES: {{ $bus.retention.bytes | int64 | quote }}
WEFT_RETENTION_SECS: {{ $bus.retention.seconds | int64 | quote }}
WEFT_HEAD_SECS: {{ $bus.headSeconds | int64 | quote }}
{{- if $bus.credentialsSecret.name }}
WEFT_BUS_CREDENTIALS_FILE: /etc/weft/bus-credentials/{{ $bus.credentialsSecret.key }}
{{- end }}
{{- if $bus.tls.caSecret.name }}
WEFT_BUS_TLS_CA_FILE: /etc/weft/bus-ca/{{ $bus.tls.caSecret.key }}
{{- end }}
{{- if $bus.tls.clientSecret.name }}
WEFT_BUS_TLS_CERT_FILE: /etc/weft/bus-tls/tls.crt
WEFT_BUS_TLS_KEY_FILE: /etc/weft/bus-tls/tls.key
{{- end }}
{{- with .Values.traces.endpoint }}
WEFT_OTLP_ENDPOINT: {{ . | quote }}
WEFT_TRACE_RATIO: {{ $.Values.traces.ratio | quote }}
{{- end }}
WEFT_LOG: {{ .Values.log.filter | quote }}
WEFT_LOG_FORMAT: {{ .Values.log.format | quote }}
{{- end -}}

{{/* dict "own" (what the chart sets) "extra" (the user's) "at" (the path of the user's values) */}}
{{- define "weft.env" -}}
{{- $env := dict -}}
{{- range $name, $value := .own -}}{{- $_ := set $env $name $value -}}{{- end -}}
{{- $at := .at -}}
{{- range $name, $value := .extra -}}
{{- if hasKey $env $name -}}
{{- fail (printf "%s: %s is set by the chart from another value" $at $name) -}}
{{- end -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- range $name := keys $env | sortAlpha }}
{{- $value := get $env $name }}
- name: {{ $name }}
{{- if kindIs "map" $value }}
  valueFrom: {{- toYaml $value | nindent 4 }}
{{- else }}
  value: {{ if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value | int64 | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "weft.busVolumes" -}}
{{- $bus := .Values.bus }}
{{- with $bus.credentialsSecret.name }}
- name: bus-credentials
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $bus.tls.caSecret.name }}
- name: bus-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $bus.tls.clientSecret.name }}
- name: bus-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "weft.busVolumeMounts" -}}
{{- $bus := .Values.bus }}
{{- if $bus.credentialsSecret.name }}
- {name: bus-credentials, mountPath: /etc/weft/bus-credentials, readOnly: true}
{{- end }}
{{- if $bus.tls.caSecret.name }}
- {name: bus-ca, mountPath: /etc/weft/bus-ca, readOnly: true}
{{- end }}
{{- if $bus.tls.clientSecret.name }}
- {name: bus-tls, mountPath: /etc/weft/bus-tls, readOnly: true}
{{- end }}
{{- end -}}

{{/* The "restricted" pod security standard, and a user without a name on the node. */}}
{{- define "weft.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "weft.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* dict "root" $ "values" .Values.gateway "component" "gateway": where pods may run. */}}
{{- define "weft.placement" -}}
{{- $selector := include "weft.selector" . | fromYaml }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := .values.topologySpreadConstraints }}
{{- if not $spread }}
{{- $zone := dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $node := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $spread = list $zone $node }}
{{- end }}
{{- $all := list }}
{{- range $spread }}
{{- $all = append $all (merge (dict "labelSelector" (dict "matchLabels" $selector)) .) }}
{{- end }}
topologySpreadConstraints: {{- toYaml $all | nindent 2 }}
{{- end -}}

{{/* How fast the fleet grows and shrinks. */}}
{{- define "weft.scaling" }}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - {type: Percent, value: 100, periodSeconds: 60}
scaleDown:
  stabilizationWindowSeconds: {{ .scaleDownStabilizationSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ .scaleDownPeriodSeconds }}}
{{- end }}

{{- define "weft.adminPeers" }}
{{- range . }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
{{- end }}
{{- end }}
{{/* The port of a URL. */}}
{{- define "weft.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Where brokers listen, as a list in JSON: what is set, else what the URL names, else, where a secret holds that, what is usual. */}}
{{- define "weft.busPorts" -}}
{{- $url := include "weft.busUrl" . -}}
{{- $ports := .Values.networkPolicy.egress.busPorts -}}
{{- if not (or $ports $url) -}}
{{- $ports = list 4222 6379 26379 -}}
{{- else if not (or $ports (include "weft.isMemory" .)) -}}
{{- $isSentinel := regexMatch "^rediss?-sentinel" $url -}}
{{- $usual := ternary "6379" "4222" (hasPrefix "redis" $url) -}}
{{- range regexReplaceAll "[a-z+-]+://" $url "" | regexFind "^[^/?]*" | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default (ternary "26379" $usual $isSentinel) | int) -}}
{{- end -}}
{{- if $isSentinel -}}{{- $ports = append $ports 6379 -}}{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* dict "root" $ "urls" (what its settings name besides the bus): where pods may connect to. */}}
{{- define "weft.egress" }}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- with include "weft.busPorts" .root | fromJsonArray }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- $ports := list }}
{{- range compact .urls }}{{ $ports = append $ports (include "weft.urlPort" .) }}{{ end }}
{{- with $ports | uniq | sortAlpha }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- with .root.Values.networkPolicy.egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
