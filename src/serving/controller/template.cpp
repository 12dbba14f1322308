// How a component of an InferenceService becomes a pod template.
#include <fmt/format.h>

#include <algorithm>

#include "crypto/digest.h"
#include "json/parse.h"
#include "serving/controller/agent.h"
#include "serving/controller/revisions.h"
#include "serving/controller/storage.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::serving {

using kube::Array;
using kube::Object;
using kube::Value;

namespace {

std::unexpected<RuntimeRefusal> refuse(std::string reason, std::string message) {
  return std::unexpected(RuntimeRefusal{std::move(reason), std::move(message)});
}

// What a component's spec has of a pod's: everything that is not KServe's own.
constexpr std::string_view kPodFields[] = {"serviceAccountName",
                                           "volumes",
                                           "initContainers",
                                           "nodeSelector",
                                           "tolerations",
                                           "affinity",
                                           "imagePullSecrets",
                                           "terminationGracePeriodSeconds",
                                           "activeDeadlineSeconds",
                                           "dnsPolicy",
                                           "dnsConfig",
                                           "hostAliases",
                                           "hostNetwork",
                                           "hostIPC",
                                           "hostPID",
                                           "shareProcessNamespace",
                                           "securityContext",
                                           "schedulerName",
                                           "priorityClassName",
                                           "runtimeClassName",
                                           "enableServiceLinks",
                                           "automountServiceAccountToken",
                                           "topologySpreadConstraints",
                                           "hostname",
                                           "subdomain"};

bool passed_on(std::string_view annotation) {
  return annotation != "kubectl.kubernetes.io/last-applied-configuration" && annotation != "serving.kserve.io/stop" &&
         annotation != kShadowPercent && !annotation.starts_with("autoscaling.knative.dev/");
}

void add(Object& to, const Object& from) {
  for (const auto& [k, v] : from)
    if (v.is_string()) to[k] = v;
}

bool has_argument(const Object& container, std::string_view name) {
  for (const char* part : {"command", "args"})
    for (const auto& a : kube::array_at(container, part))
      if (a.is_string() &&
          (a.get_string() == name || std::string_view(a.get_string()).starts_with(std::string(name) + "=")))
        return true;
  return false;
}

Array& list_of(Object& o, std::string_view key) {
  auto& v = o[key];
  if (!v.is_array()) v = Array{};
  return v.get_array();
}

std::string env_value(const Object& container, std::string_view name) {
  for (const auto& e : kube::array_at(container, "env"))
    if (e.is_object() && kube::text_at(e.get_object(), "name") == name)
      return std::string(kube::text_at(e.get_object(), "value"));
  return {};
}

int port_of(const Object& container) {
  for (const auto& p : kube::array_at(container, "ports"))
    if (p.is_object())
      if (auto n = kube::int_at(p.get_object(), "containerPort"); n > 0 && n < 65536) return static_cast<int>(n);
  return 8080;
}

// The same document, its keys in order: what is hashed must not depend on how a client wrote it.
Value canonical(const Value& v) {
  if (const auto* o = v.if_object()) {
    std::vector<std::string> keys;
    for (const auto& [k, _] : *o) keys.emplace_back(k);
    std::sort(keys.begin(), keys.end());
    Object out;
    for (const auto& k : keys) out[k] = canonical(o->at(k));
    return out;
  }
  if (const auto* a = v.if_array()) {
    Array out;
    for (const auto& e : *a) out.push_back(canonical(e));
    return out;
  }
  return v;
}

// storage: {key, path, parameters} as a URI; the credentials come from the secret storage-config.
std::expected<std::string, RuntimeRefusal> uri_of_storage(const Object& storage, const CredentialSource& from,
                                                          std::string& key) {
  if (!from.storage_config)
    return refuse("InvalidPredictorSpec", "can't find storage secret storage-config, which model.storage needs");
  key = kube::text_at(storage, "key");
  const auto& data = kube::object_at(*from.storage_config, "data");
  if (key.empty()) {
    auto type = kube::text_at(storage, "parameters.type");
    key = type.empty() ? "default" : "default_" + std::string(type);
  }
  const auto* entry = data.if_contains(key);
  if (entry == nullptr || !entry->is_string())
    return refuse("InvalidPredictorSpec",
                  fmt::format("specified storage key {} not found in storage secret storage-config", key));
  auto text = text::base64_decode(std::string_view(entry->get_string()));
  auto doc = text ? json::parse(*text) : fail(Code::invalid_argument, "");
  if (!doc || !doc->is_object())
    return refuse("InvalidPredictorSpec",
                  fmt::format("invalid json encountered in key {} of storage secret storage-config", key));
  std::string type(kube::text_at(storage, "parameters.type"));
  if (type.empty()) type = json::string_or_empty(*doc, "type");
  std::string bucket(kube::text_at(storage, "parameters.bucket"));
  if (bucket.empty()) bucket = json::string_or_empty(*doc, "bucket");
  if (type != "s3")
    return refuse("InvalidPredictorSpec",
                  fmt::format("storage type must be one of [s3]. storage type [{}] is not supported", type));
  if (bucket.empty())
    return refuse("InvalidPredictorSpec",
                  "format [s3://<bucket>/<path>] requires a bucket but none was found in storage data or parameters");
  return fmt::format("s3://{}/{}", bucket, kube::text_at(storage, "path"));
}

Object secret_env(std::string_view variable, std::string_view secret, std::string_view key) {
  return {{"name", variable}, {"valueFrom", Object{{"secretKeyRef", Object{{"name", secret}, {"key", key}}}}}};
}

// A claim's folder at /mnt/models, as KServe mounts it.
std::expected<void, RuntimeRefusal> mount_claim(const std::string& uri, Object& container, Object& pod) {
  auto u = text::parse_uri(uri);
  if (u.authority.empty())
    return refuse("InvalidPredictorSpec", fmt::format("invalid URI, must be pvc://<pvcname>/[path]: {}", uri));
  list_of(pod, "volumes")
      .push_back(Object{{"name", "kserve-pvc-source"},
                        {"persistentVolumeClaim", Object{{"claimName", u.authority}, {"readOnly", false}}}});
  Object mount{{"name", "kserve-pvc-source"}, {"mountPath", "/mnt/models"}, {"readOnly", true}};
  std::string sub = u.path;
  while (sub.starts_with('/')) sub.erase(0, 1);
  while (sub.ends_with('/')) sub.pop_back();
  if (!sub.empty()) {
    if (!text::safe_relative_path(sub))
      return refuse("InvalidPredictorSpec", fmt::format("the path of {} leaves the claim", uri));
    mount["subPath"] = sub;
  }
  list_of(container, "volumeMounts").push_back(std::move(mount));
  return {};
}

// The model where a container of another image looks for it: fetched into a volume before it starts.
void add_initializer(const std::string& uri, const Array& credentials, Object& container, Object& pod) {
  list_of(pod, "volumes").push_back(Object{{"name", "kserve-provision-location"}, {"emptyDir", Object{}}});
  list_of(container, "volumeMounts")
      .push_back(Object{{"name", "kserve-provision-location"}, {"mountPath", "/mnt/models"}, {"readOnly", true}});
  Object init{{"name", "storage-initializer"},
              {"image", kInitializerImage},
              {"args", Array{Value(uri), Value("/mnt/models")}},
              {"terminationMessagePolicy", "FallbackToLogsOnError"},
              {"volumeMounts", Array{Object{{"name", "kserve-provision-location"}, {"mountPath", "/mnt/models"}}}}};
  if (!credentials.empty()) init["env"] = credentials;
  auto& list = list_of(pod, "initContainers");
  list.insert(list.begin(), std::move(init));
}

struct Parts {
  Object container;  // kserve-container
  Object pod;        // the rest of the pod's spec
  Array others;      // further containers
};

std::expected<Parts, RuntimeRefusal> parts_of(const TemplateInput& in) {
  Parts p;
  bool found = false;
  auto take = [&](const Array& containers) {
    for (const auto& c : containers) {
      if (!c.is_object()) continue;
      const auto& o = c.get_object();
      auto name = kube::text_at(o, "name");
      if (!found && (name == "kserve-container" || name.empty())) {
        p.container = o;
        found = true;
      } else {
        p.others.push_back(o);
      }
    }
  };
  if (in.runtime != nullptr) {
    const auto& spec = in.runtime->spec;
    take(kube::array_at(spec, "containers"));
    if (!found) return refuse("InvalidPredictorSpec", "failed to find kserve-container in ServingRuntime containers");
    for (auto field : kPodFields)
      if (const auto* v = spec.if_contains(field)) p.pod[field] = *v;
    // The model's own container fields go over the runtime's.
    Object over;
    static constexpr std::string_view kModelOnly[] = {"modelFormat",  "runtime", "protocolVersion",
                                                      "storageUri",   "storage", "runtimeVersion",
                                                      "confidential", "name",    "storageUris"};
    for (const auto& [k, v] : kube::object_at(in.spec, "model"))
      if (std::find(std::begin(kModelOnly), std::end(kModelOnly), std::string_view(k)) == std::end(kModelOnly))
        over[k] = v;
    p.container = merge_container(p.container, over);
    for (const auto& c : kube::array_at(in.spec, "containers")) {
      if (!c.is_object()) continue;
      if (kube::text_at(c.get_object(), "name") == "kserve-container")
        p.container = merge_container(p.container, c.get_object());
      else
        p.others.push_back(c);
    }
    auto version = kube::text_at(in.spec, "model.runtimeVersion");
    if (!version.empty()) {
      std::string image(kube::text_at(p.container, "image"));
      if (auto colon = image.rfind(':'); colon != std::string::npos && image.find('/', colon) == std::string::npos)
        image.resize(colon);
      if (!image_is(image, kPredictorImage)) p.container["image"] = image + ":" + std::string(version);
    }
    Value v = p.container;
    if (auto r = fill_placeholders(v, in.isvc); !r) return refuse("InvalidPredictorSpec", r.error().message);
    p.container = v.get_object();
    Value o = p.others;
    if (auto r = fill_placeholders(o, in.isvc); !r) return refuse("InvalidPredictorSpec", r.error().message);
    p.others = o.get_array();
  } else {
    take(kube::array_at(in.spec, "containers"));
    if (!found && p.others.size() == 1) {  // a single container of another name is meant
      p.container = p.others[0].get_object();
      p.others.clear();
      found = true;
    }
    if (!found)
      return refuse(
          "InvalidPredictorSpec",
          fmt::format("spec.{} has neither a model nor a container 'kserve-container'", component_name(in.component)));
  }
  for (auto field : kPodFields)
    if (const auto* v = in.spec.if_contains(field)) p.pod[field] = *v;
  p.container["name"] = "kserve-container";
  return p;
}

}  // namespace

std::string_view component_name(Component c) {
  static constexpr std::string_view names[] = {"predictor", "transformer", "explainer"};
  return names[static_cast<std::size_t>(c)];
}

Array credential_env(const CredentialSource& from) {
  Array out;
  auto plain = [&](std::string_view name, std::string_view value) {
    out.push_back(Object{{"name", name}, {"value", value}});
  };
  for (const auto& secret : from.secrets) {
    const auto& data = kube::object_at(*secret, "data");
    auto name = kube::name_of(*secret);
    for (auto [id, key] :
         {std::pair{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, std::pair{"awsAccessKeyID", "awsSecretAccessKey"}}) {
      if (!data.contains(key)) continue;
      if (data.contains(id)) out.push_back(secret_env("AWS_ACCESS_KEY_ID", name, id));
      out.push_back(secret_env("AWS_SECRET_ACCESS_KEY", name, key));
      auto note = [&](std::string_view n) { return kube::annotation(*secret, "serving.kserve.io/" + std::string(n)); };
      if (auto endpoint = note("s3-endpoint"); !endpoint.empty()) {
        auto https = note("s3-usehttps");
        plain("S3_ENDPOINT", endpoint);
        if (!https.empty()) plain("S3_USE_HTTPS", https);
        plain("AWS_ENDPOINT_URL", (https == "0" ? "http://" : "https://") + std::string(endpoint));
      }
      for (auto [variable, annotation] :
           {std::pair{"S3_VERIFY_SSL", "s3-verifyssl"}, std::pair{"awsAnonymousCredential", "s3-useanoncredential"},
            std::pair{"AWS_DEFAULT_REGION", "s3-region"}, std::pair{"S3_USER_VIRTUAL_BUCKET", "s3-usevirtualbucket"},
            std::pair{"S3_USE_ACCELERATE", "s3-useaccelerate"}})
        if (auto v = note(annotation); !v.empty()) plain(variable, v);
      break;
    }
    if (const auto* host = data.if_contains("https-host");
        host != nullptr && host->is_string() && data.contains("headers"))
      if (auto decoded = text::base64_decode(std::string_view(host->get_string())))
        out.push_back(secret_env(*decoded + "-headers", name, "headers"));
  }
  return out;
}

std::expected<Template, RuntimeRefusal> pod_template(const TemplateInput& in) {
  auto parts = parts_of(in);
  if (!parts) return std::unexpected(parts.error());
  auto& container = parts->container;
  auto& pod = parts->pod;
  std::string name(kube::name_of(in.isvc));
  Template t;
  std::string image(kube::text_at(container, "image"));
  if (image.empty()) return refuse("InvalidPredictorSpec", "the container 'kserve-container' has no image");
  t.builtin = image_is(image, kPredictorImage);

  std::string uri;
  std::string storage_key;
  if (in.runtime != nullptr) {
    uri = kube::text_at(in.spec, "model.storageUri");
    const auto& storage = kube::object_at(in.spec, "model.storage");
    if (!storage.empty()) {
      if (!uri.empty()) return refuse("InvalidPredictorSpec", "must provide only one of storageUri and storage.path");
      auto made = uri_of_storage(storage, in.credentials, storage_key);
      if (!made) return std::unexpected(made.error());
      uri = *made;
    }
  } else {
    uri = env_value(container, "STORAGE_URI");
  }
  if (const auto& uris = kube::array_at(in.spec, "storageUris"); !uris.empty()) {
    if (!uri.empty() || uris.size() != 1 || !uris[0].is_object())
      return refuse("InvalidPredictorSpec", "one storageUri, or storageUris of one entry, can be given here");
    uri = kube::text_at(uris[0].get_object(), "uri");
  }
  if (!uri.empty())
    if (auto ok = check_storage_uri(uri); !ok) return refuse("InvalidPredictorSpec", ok.error().message);
  auto credentials = credential_env(in.credentials);
  if (!storage_key.empty()) credentials = Array{secret_env("STORAGE_CONFIG", "storage-config", storage_key)};

  if (t.builtin) {
    container["terminationMessagePolicy"] = "FallbackToLogsOnError";
    if (uri.empty())
      return refuse("InvalidPredictorSpec", "spec.predictor.model.storageUri is required: there is no model to serve");
    if (uri.starts_with("pvc://")) {
      if (auto ok = mount_claim(uri, container, pod); !ok) return std::unexpected(ok.error());
    } else {
      // Read where it lies: no copy into a volume first.
      list_of(container, "args").push_back(Value("--storage_uri=" + uri));
      auto& env = list_of(container, "env");
      env.insert(env.end(), credentials.begin(), credentials.end());
    }
    if (auto ok = add_agent_arguments(in, container); !ok) return std::unexpected(ok.error());
    if (auto most = kube::int_at(in.spec, "containerConcurrency");
        most > 0 && !has_argument(container, "--max_concurrency"))
      list_of(container, "args").push_back(Value(fmt::format("--max_concurrency={}", most)));
    container["ports"] = Array{Object{{"name", "user-port"}, {"containerPort", 8080}, {"protocol", "TCP"}},
                               Object{{"name", "queue-port"}, {"containerPort", 8012}, {"protocol", "TCP"}}};
  } else {
    if (uri.starts_with("pvc://")) {
      if (auto ok = mount_claim(uri, container, pod); !ok) return std::unexpected(ok.error());
    } else if (!uri.empty()) {
      add_initializer(uri, credentials, container, pod);
    }
    if (kube::array_at(container, "ports").empty())
      container["ports"] = Array{Object{{"name", "user-port"}, {"containerPort", 8080}, {"protocol", "TCP"}}};
    // Without a probe of its own a container is ready when its port is open, as Knative has it.
    if (!container.contains("readinessProbe"))
      container["readinessProbe"] = Object{{"tcpSocket", Object{{"port", port_of(container)}}},
                                           {"periodSeconds", 1},
                                           {"timeoutSeconds", 1},
                                           {"successThreshold", 1},
                                           {"failureThreshold", 3}};
  }
  t.port = port_of(container);
  if (in.component != Component::predictor) {
    auto& args = list_of(container, "args");
    auto host = fmt::format("{}-predictor.{}", name, kube::namespace_of(in.isvc));
    if (!has_argument(container, "--model_name")) args.insert(args.end(), {Value("--model_name"), Value(name)});
    if (!has_argument(container, "--predictor_host")) args.insert(args.end(), {Value("--predictor_host"), Value(host)});
    if (!has_argument(container, "--http_port"))
      args.insert(args.end(), {Value("--http_port"), Value(std::to_string(t.port))});
  }

  Array containers{container};
  if (!t.builtin) {
    auto agent = agent_container(in, t.port);
    if (!agent) return std::unexpected(agent.error());
    if (!agent->empty()) {
      containers.push_back(std::move(*agent));
      t.port = kAgentPort;
    }
  }
  containers.insert(containers.end(), parts->others.begin(), parts->others.end());
  pod["containers"] = std::move(containers);

  Object labels, annotations;
  if (in.runtime != nullptr) {
    add(labels, kube::object_at(in.runtime->spec, "labels"));
    add(annotations, kube::object_at(in.runtime->spec, "annotations"));
  }
  add(labels, kube::object_at(in.isvc, "metadata.labels"));
  add(labels, kube::object_at(in.spec, "labels"));
  for (const auto& [k, v] : kube::object_at(in.isvc, "metadata.annotations"))
    if (v.is_string() && passed_on(k)) annotations[k] = v;
  add(annotations, kube::object_at(in.spec, "annotations"));
  if (!uri.empty()) annotations["internal.serving.kserve.io/storage-initializer-sourceuri"] = uri;
  auto config = fmt::format("{}-{}", name, component_name(in.component));
  labels["serving.kserve.io/inferenceservice"] = name;
  labels["component"] = component_name(in.component);
  labels["serving.knative.dev/configuration"] = config;
  labels["serving.knative.dev/service"] = config;
  t.pod = Object{{"metadata", Object{{"labels", std::move(labels)}, {"annotations", std::move(annotations)}}},
                 {"spec", std::move(pod)}};
  t.hash = text::hex(crypto::digest(crypto::Algorithm::sha256, json::serialize(canonical(t.pod)))).substr(0, 16);
  t.model_name = name;
  return t;
}

}  // namespace mr::serving
