{{/* Refuses what would start no gateway, or one that is open by mistake. */}}
{{- define "weft.checkAccess" -}}
{{- $gateway := .Values.gateway -}}
{{- $jwt := $gateway.jwt -}}
{{- $named := or (hasKey $gateway.env "WEFT_JWT_SECRET") (hasKey $gateway.env "WEFT_JWKS_URL") -}}
{{- $keys := or $jwt.secret.name $jwt.publicKeySecret.name $jwt.jwksUrl $named -}}
{{- if eq $gateway.auth "jwt" -}}
{{- if not $keys -}}
{{- fail "gateway.auth: jwt needs gateway.jwt.secret.name, gateway.jwt.publicKeySecret.name or gateway.jwt.jwksUrl" -}}
{{- end -}}
{{- if $gateway.allowAnonymousRemote -}}
{{- fail "gateway.allowAnonymousRemote: belongs to gateway.auth=off; with jwt see gateway.jwt.anonymousRooms" -}}
{{- end -}}
{{- else if eq $gateway.auth "off" -}}
{{- if $keys -}}
{{- fail "gateway.auth: must be jwt where keys are set" -}}
{{- end -}}
{{- if not $gateway.allowAnonymousRemote -}}
{{- fail "gateway.auth: off lets everybody in who reaches the gateway; say so with gateway.allowAnonymousRemote=true" -}}
{{- end -}}
{{- else -}}
{{- fail "gateway.auth: must be set: jwt, or off with gateway.allowAnonymousRemote=true" -}}
{{- end -}}
{{- if and $jwt.cookie (not $gateway.origins) -}}
{{- fail "gateway.jwt.cookie: needs gateway.origins: any page could use the cookie of its visitors" -}}
{{- end -}}
{{- if and $gateway.fleetKey.generate $gateway.fleetKey.secret.name -}}
{{- fail "gateway.fleetKey: set one of generate and secret.name" -}}
{{- end -}}
{{- if and $gateway.peers.enabled (not (include "weft.fleetSecret" .)) -}}
{{- fail "gateway.peers: needs gateway.fleetKey, by which gateways know each other" -}}
{{- end -}}
{{- $control := $gateway.control -}}
{{- if and $control.enabled (not $control.tokenSecret.name) -}}
{{- fail "gateway.control: needs gateway.control.tokenSecret.name" -}}
{{- end -}}
{{- if $control.service.enabled -}}
{{- if not $control.enabled -}}
{{- fail "gateway.control.service: needs gateway.control.enabled" -}}
{{- end -}}
{{- if not (and $control.service.from .Values.networkPolicy.enabled) -}}
{{- fail "gateway.control.service: needs gateway.control.service.from and networkPolicy.enabled: it must not be open to the cluster" -}}
{{- end -}}
{{- end -}}
{{- if and $gateway.tls.secret .Values.httpRoute.enabled -}}
{{- fail "gateway.tls: an HTTPRoute speaks plainly to pods; end TLS at its gateway instead, or route to the service with objects of your own (extraObjects)" -}}
{{- end -}}
{{- $ports := values $gateway.ports -}}
{{- if ne (len ($ports | uniq)) (len $ports) -}}
{{- fail "gateway.ports: must differ from each other" -}}
{{- end -}}
{{- end -}}

{{/* The secret with the fleet's key, empty where there is none. */}}
{{- define "weft.fleetSecret" -}}
{{- if .Values.gateway.fleetKey.generate -}}{{ include "weft.gateway" . }}-fleet{{- else -}}{{ .Values.gateway.fleetKey.secret.name }}{{- end -}}
{{- end -}}

{{- define "weft.fleetSecretKey" -}}
{{- if .Values.gateway.fleetKey.generate -}}key{{- else -}}{{ .Values.gateway.fleetKey.secret.key }}{{- end -}}
{{- end -}}

{{/* What is mounted from secrets, by the name of its volume: secret, key, and the variable that names the file. */}}
{{- define "weft.accessFiles" -}}
{{- $gateway := .Values.gateway -}}
{{- with $gateway.jwt.secret }}{{ if .name }}
jwt-secret: {secret: {{ .name }}, key: {{ .key }}, variable: WEFT_JWT_SECRET_FILE}
{{- end }}{{ end }}
{{- with $gateway.jwt.publicKeySecret }}{{ if .name }}
jwt-public-key: {secret: {{ .name }}, key: {{ .key }}, variable: WEFT_JWT_PUBLIC_KEY_FILE}
{{- end }}{{ end }}
{{- if include "weft.fleetSecret" . }}
fleet-key: {secret: {{ include "weft.fleetSecret" . }}, key: {{ include "weft.fleetSecretKey" . }}, variable: WEFT_FLEET_KEY_FILE}
{{- end }}
{{- if $gateway.control.enabled }}
control-token: {secret: {{ $gateway.control.tokenSecret.name }}, key: {{ $gateway.control.tokenSecret.key }}, variable: WEFT_CONTROL_TOKEN_FILE}
{{- end }}
{{- end -}}

{{/* One key of each secret and no other; not by subPath, so that a change reaches the file. */}}
{{- define "weft.accessVolumes" -}}
{{- range $name, $file := include "weft.accessFiles" . | fromYaml }}
- name: {{ $name }}
  secret: {secretName: {{ $file.secret }}, defaultMode: 0440, items: [{key: {{ $file.key }}, path: {{ $file.key }}}]}
{{- end }}
{{- with .Values.gateway.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- end -}}

{{- define "weft.accessVolumeMounts" -}}
{{- range $name, $_ := include "weft.accessFiles" . | fromYaml }}
- {name: {{ $name }}, mountPath: /etc/weft/{{ $name }}, readOnly: true}
{{- end }}
{{- if .Values.gateway.tls.secret }}
- {name: tls, mountPath: /etc/weft/tls, readOnly: true}
{{- end }}
{{- end -}}

{{/* Who may come in and how much one may take, as a dict in YAML. */}}
{{- define "weft.accessEnv" -}}
{{- $gateway := .Values.gateway -}}
{{- $jwt := $gateway.jwt -}}
WEFT_AUTH: {{ $gateway.auth | quote }}
{{- if eq $gateway.auth "off" }}
WEFT_ALLOW_ANONYMOUS_REMOTE: "true"
{{- else }}
WEFT_JWT_USER_CLAIM: {{ $jwt.userClaim | quote }}
WEFT_JWT_LIFE_SECS_MAX: {{ $jwt.lifeSeconds | int64 | quote }}
WEFT_TENANT_REQUIRED: {{ $jwt.tenantRequired | quote }}
WEFT_AUTH_QUERY: {{ ternary "on" "off" $jwt.inQuery | quote }}
{{- end }}
{{- with $jwt.jwksUrl }}
WEFT_JWKS_URL: {{ . | quote }}
{{- end }}
{{- with $jwt.issuers }}
WEFT_JWT_ISSUER: {{ join "," . | quote }}
{{- end }}
{{- with $jwt.audiences }}
WEFT_JWT_AUDIENCE: {{ join "," . | quote }}
{{- end }}
{{- with $jwt.cookie }}
WEFT_AUTH_COOKIE: {{ . | quote }}
{{- end }}
{{- with $jwt.anonymousRooms }}
WEFT_ANONYMOUS_ROOMS: {{ join "," . | quote }}
{{- end }}
{{- with $jwt.authorizeUrl }}
WEFT_AUTHORIZE_URL: {{ . | quote }}
{{- end }}
{{- with $gateway.origins }}
WEFT_ORIGINS: {{ join "," . | quote }}
{{- end }}
{{- with $gateway.trustedProxies }}
WEFT_TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
WEFT_CONNECTIONS_PER_ADDRESS_MAX: {{ $gateway.limits.connectionsPerAddress | int64 | quote }}
WEFT_CONNECTIONS_PER_USER_MAX: {{ $gateway.limits.connectionsPerUser | int64 | quote }}
WEFT_CONNECTS_PER_ADDRESS: {{ $gateway.limits.connectsPerAddress | int64 | quote }}
WEFT_CONNECTS_PER_SEC: {{ $gateway.limits.connectsPerSecond | int64 | quote }}
WEFT_MESSAGES_PER_CONNECTION: {{ $gateway.limits.messagesPerConnection | int64 | quote }}
WEFT_PUBLISHES_PER_USER: {{ $gateway.limits.publishesPerUser | int64 | quote }}
{{- range $name, $file := include "weft.accessFiles" . | fromYaml }}
{{ $file.variable }}: /etc/weft/{{ $name }}/{{ $file.key }}
{{- end }}
{{- if $gateway.tls.secret }}
WEFT_TLS_CERT_FILE: /etc/weft/tls/tls.crt
WEFT_TLS_KEY_FILE: /etc/weft/tls/tls.key
{{- end }}
{{- if $gateway.peers.enabled }}
# Others connect to this very pod.
POD_IP: {fieldRef: {fieldPath: status.podIP}}
WEFT_PEER_LISTEN: {{ printf (ternary "[$(POD_IP)]:%d" "$(POD_IP):%d" (eq .Values.listenAddress "[::]")) (int $gateway.ports.peers) | quote }}
{{- end }}
{{- if $gateway.control.enabled }}
WEFT_CONTROL_LISTEN: {{ printf "%s:%d" (ternary .Values.listenAddress "127.0.0.1" $gateway.control.service.enabled) (int $gateway.ports.control) | quote }}
{{- end }}
{{- end -}}

{{/* "s" where clients speak TLS with the pods themselves. */}}
{{- define "weft.tlsSign" -}}{{- if .Values.gateway.tls.secret -}}s{{- end -}}{{- end -}}

{{/* Whether a token may stand in a URL, where proxies would log it. */}}
{{- define "weft.isTokenInUrl" -}}{{- if and (eq .Values.gateway.auth "jwt") .Values.gateway.jwt.inQuery -}}true{{- end -}}{{- end -}}
