{{- define "bento-gateway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods, and never changes within a release. */}}
{{- define "bento-gateway.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bento-gateway.labels" -}}
{{ include "bento-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "bento-gateway.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "bento-gateway.labels" . | nindent 2 }}
{{- end -}}

{{- define "bento-gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bento-gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bento-gateway.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "bento-gateway.managementScheme" -}}
{{- if .Values.tls.management.existingSecret }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}

{{/* More than one gateway, now or when an autoscaler says so. */}}
{{- define "bento-gateway.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}yes{{ end -}}
{{- end -}}

{{/* What cannot work, in words. */}}
{{- define "bento-gateway.check" -}}
{{- if eq .Values.store.kind "sqlite" -}}
{{- if include "bento-gateway.several" . -}}
{{- fail "SQLite is for one gateway: its file cannot be shared. Set replicas to 1 and autoscaling.enabled to false, or store.kind to postgres." -}}
{{- end -}}
{{- else if not .Values.store.postgres.existingSecret -}}
{{- fail "store.kind is postgres, and store.postgres.existingSecret is empty. Make a Secret with the URL of the database, and name it there: kubectl create secret generic bento-gateway-store --from-literal=store-url=postgres://USER:PASSWORD@HOST/DATABASE" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled is true, and ingress.hosts is empty: name the hosts by which callers reach their services." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled is true, and httpRoute.parentRefs is empty: name the Gateway that the route belongs to." -}}
{{- end -}}
{{- if and .Values.keda.enabled (not .Values.keda.services) -}}
{{- fail "keda.enabled is true, and keda.services is empty: name the Deployments of the gateway, and what runs their Bentos." -}}
{{- end -}}
{{- $config := .Values.config -}}
{{- range $path, $instead := dict
    "proxy.listen" "listenAddress and service.port"
    "management.listen" "listenAddress and managementService.port"
    "telemetry.listen" "listenAddress"
    "proxy.tls" "tls.proxy.existingSecret"
    "management.tls" "tls.management.existingSecret"
    "store.url" "store.kind and store.postgres.existingSecret"
    "tokens.pepper" "secrets.pepper.existingSecret, as a ConfigMap is no place for a secret"
    "tokens.first_token" "nothing: pods keep what they print, so that no token is printed"
    "management.oidc.client_secret" "secrets.oidcClientSecret.existingSecret, as a ConfigMap is no place for a secret" -}}
{{- $at := $config -}}
{{- $found := true -}}
{{- range splitList "." $path -}}
{{- if and $found (kindIs "map" $at) (hasKey $at .) -}}
{{- $at = index $at . -}}
{{- else -}}
{{- $found = false -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "config.%s is set by the chart. Use %s." $path $instead) -}}
{{- end -}}
{{- end -}}
{{- if (get (default dict $config.forward_auth) "listen") -}}
{{- fail "config.forward_auth.listen is a listener that no Service of the chart leads to. Have requests pass through the gateway, or run one beside the proxy that asks." -}}
{{- end -}}
{{- range $name, $deployment := default dict $config.deployments -}}
{{- if (get $deployment "listen") -}}
{{- fail (printf "config.deployments.%s.listen is a listener that no Service of the chart leads to. Give the Deployment hosts." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The configuration file: config, and what is mounted. */}}
{{- define "bento-gateway.config" -}}
{{- $own := dict -}}
{{- range $listener := list "proxy" "management" -}}
{{- if (index $.Values.tls $listener).existingSecret -}}
{{- $files := printf "/run/secrets/bento-gateway/tls-%s" $listener -}}
{{- $tls := dict "certificate" (printf "%s/tls.crt" $files) "key" (printf "%s/tls.key" $files) -}}
{{- $_ := set $own $listener (dict "tls" $tls) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.store.kind "sqlite" -}}
{{- $_ := set $own "store" (dict "url" "sqlite:/data/bento-gateway.db") -}}
{{- end -}}
{{- include "bento-gateway.toml" (dict "path" (list) "table" (mergeOverwrite (deepCopy .Values.config) $own)) -}}
{{- end -}}

{{/* A table of TOML: its values, then its tables. What JSON writes of a text, a number or a list of them is TOML, too. */}}
{{- define "bento-gateway.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ toJson $key }} = {{ include "bento-gateway.tomlValue" $value }}
{{- end -}}
{{- end -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value -}}
{{- $inner := append $path (toJson $key) }}

[{{ join "." $inner }}]
{{- include "bento-gateway.toml" (dict "path" $inner "table" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "bento-gateway.tomlValue" -}}
{{- if kindIs "slice" . -}}
[{{ range $at, $item := . }}{{ if $at }}, {{ end }}{{ include "bento-gateway.tomlValue" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- $first := true }}{{ range $key, $item := . }}{{ if not $first }},{{ end }} {{ toJson $key }} = {{ include "bento-gateway.tomlValue" $item }}{{ $first = false }}{{ end }} }
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* What the chart has, and the values over it; null takes a member away. */}}
{{- define "bento-gateway.merged" -}}
{{- $merged := mergeOverwrite (deepCopy .own) (deepCopy .values) -}}
{{- range $key, $value := $merged -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $merged $key -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}
