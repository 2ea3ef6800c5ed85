{{- define "stopline.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "stopline.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "stopline.labels" -}}
{{ include "stopline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "stopline.redisUrl" -}}
{{- .Values.redis.url | default (printf "redis://%s-redis:6379/0" (include "stopline.name" .)) -}}
{{- end -}}

{{- define "stopline.environment" -}}
- name: STOPLINE_REDIS_URL
  value: {{ include "stopline.redisUrl" .root | quote }}
{{- if .root.Values.redis.password.secret }}
- name: STOPLINE_REDIS_PASSWORD_FILE
  value: /run/secrets/stopline/redis-password
{{- end }}
- name: STOPLINE_DATA_DIR
  value: /tmp/stopline
{{- range $name, $value := merge (dict) (.settings | default dict) .root.Values.settings }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "stopline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "stopline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "stopline.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- /* A projected volume of secrets, each as a file; of those that are named. */ -}}
{{- define "stopline.secrets" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range .files }}
    {{- if .secret }}
      - secret:
          name: {{ .secret }}
          items:
            - key: {{ .key }}
              path: {{ .path }}
    {{- end }}
    {{- end }}
{{- range .root.Values.extraSecrets }}
- name: extra-{{ . }}
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
- name: tmp
  emptyDir: {}
{{- end -}}

{{- define "stopline.mounts" -}}
- name: secrets
  mountPath: /run/secrets/stopline
  readOnly: true
{{- range .Values.extraSecrets }}
- name: extra-{{ . }}
  mountPath: /run/secrets/extra/{{ . }}
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "stopline.placement" -}}
serviceAccountName: {{ include "stopline.name" . }}
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
