// create, get, list, update, patch, delete of objects: from the request to the rules and back.
#include "crypto/random.h"
#include "json/parse.h"
#include "json/writer.h"
#include "kube/request.h"
#include "kube/usage.h"
#include "kube/wire.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

ApiError not_allowed() { return method_not_allowed("", ""); }

ApiError list_options_fault(FieldError fault) {
  return invalid_object("meta.k8s.io", "ListOptions", "", {std::move(fault)});
}

}  // namespace

Answer<std::uint64_t> revision_of(const Call& c) {
  auto rv = c.param("resourceVersion");
  if (rv.empty()) return std::uint64_t{0};
  auto n = text::to_u64(rv);
  if (!n)
    return std::unexpected(make_error(
        500, "",
        fmt::format("resourceVersion: Invalid value: \"{0}\": strconv.ParseUint: parsing \"{0}\": invalid syntax",
                    rv)));
  return *n;
}

Answer<void> check_match(const Call& c, bool watch) {
  auto match = c.param("resourceVersionMatch");
  auto rv = c.param("resourceVersion");
  bool initial = !c.param("sendInitialEvents").empty();
  if (watch && initial && match != "NotOlderThan")
    return std::unexpected(list_options_fault(
        forbidden("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")));
  if (match.empty() || (watch && initial)) return {};
  if (rv.empty())
    return std::unexpected(list_options_fault(
        forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")));
  if (match != "Exact" && match != "NotOlderThan")
    return std::unexpected(
        list_options_fault(not_supported("resourceVersionMatch", Value(match), {"Exact", "NotOlderThan", ""})));
  if (match == "Exact" && rv == "0")
    return std::unexpected(list_options_fault(
        forbidden("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")));
  return {};
}

ApiError too_large_revision(std::uint64_t wanted, std::uint64_t current) {
  auto e =
      make_error(504, "Timeout", fmt::format("Timeout: Too large resource version: {}, current: {}", wanted, current));
  e.details["causes"] = Array{Object{{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}}};
  e.details["retryAfterSeconds"] = 1;
  return e;
}

namespace {

Answer<ListQuery> list_query(const Call& c) {
  ListQuery q;
  if (auto ok = check_match(c, false); !ok) return std::unexpected(ok.error());
  auto revision = revision_of(c);
  if (!revision) return std::unexpected(revision.error());
  if (!c.param("continue").empty() && !c.param("resourceVersion").empty() && *revision != 0)
    return std::unexpected(bad_request("specifying resource version is not allowed when using continue"));
  q.at_least = *revision;
  q.exact = c.param("resourceVersionMatch") == "Exact";
  q.label_selector = c.param("labelSelector");
  q.field_selector = c.param("fieldSelector");
  q.continue_token = c.param("continue");
  if (auto l = c.param("limit"); !l.empty()) {
    auto n = text::to_i64(l);
    if (!n) return std::unexpected(bad_request(fmt::format("strconv.ParseInt: parsing \"{}\": invalid syntax", l)));
    q.limit = *n < 0 ? 0 : static_cast<std::size_t>(*n);
  }
  return q;
}

std::optional<Propagation> propagation_of(std::string_view text) {
  if (text == "Foreground") return Propagation::foreground;
  if (text == "Orphan") return Propagation::orphan;
  if (text == "Background") return Propagation::background;
  return std::nullopt;
}

task::Task<Answer<DeleteOptions>> delete_options(Call& c) {
  DeleteOptions o;
  std::string policy(c.param("propagationPolicy"));
  if (auto g = c.param("gracePeriodSeconds"); !g.empty()) o.grace_seconds = text::to_i64(g);
  for (const auto& v : c.params("dryRun")) o.dry_run |= v == "All";
  if (c.flag("orphanDependents")) policy = "Orphan";
  auto length = c.http->headers.get("content-length");
  if (c.http->headers.has("transfer-encoding") || (!length.empty() && length != "0")) {
    std::vector<std::string> faults;
    auto body = co_await read_object(c, faults);
    if (!body) co_return std::unexpected(body.error());
    if (const auto* g = body->if_contains("gracePeriodSeconds"); g != nullptr && !g->is_null()) {
      if (!g->is_int64())
        co_return std::unexpected(make_error(
            500, "",
            fmt::format("json: cannot unmarshal {} into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
                        g->is_string()  ? "string"
                        : g->is_bool()  ? "bool"
                        : g->is_array() ? "array"
                                        : "object")));
      o.grace_seconds = g->get_int64();
    }
    if (auto p = text_at(*body, "propagationPolicy"); !p.empty()) policy = p;
    if (const auto* v = body->if_contains("orphanDependents"); v != nullptr && v->is_bool()) {
      if (!policy.empty())
        co_return std::unexpected(
            invalid_object("meta.k8s.io", "DeleteOptions", "",
                           {invalid("propagationPolicy", Value(policy),
                                    "orphanDependents and deletionPropagation cannot be both set")}));
      policy = v->get_bool() ? "Orphan" : "Background";
    }
    o.uid = text_at(*body, "preconditions.uid");
    o.resource_version = text_at(*body, "preconditions.resourceVersion");
    for (const auto& d : array_at(*body, "dryRun")) o.dry_run |= d == Value("All");
  }
  if (!policy.empty()) {
    o.propagation = propagation_of(policy);
    if (!o.propagation)
      co_return std::unexpected(invalid_object(
          "meta.k8s.io", "DeleteOptions", "",
          {not_supported("propagationPolicy", Value(policy), {"Foreground", "Background", "Orphan", "nil"})}));
  }
  co_return o;
}

// {"resourceVersion":…,"continue":…,"remainingItemCount":…}
// Lists of custom kinds say that they go on nowhere.
std::string list_metadata(const Listed& l, bool custom) {
  Object m{{"resourceVersion", std::to_string(l.revision)}};
  if (!l.continue_token.empty() || custom) m["continue"] = l.continue_token;
  if (l.remaining) m["remainingItemCount"] = *l.remaining;
  return json::serialize(m);
}

// Items of built-in kinds leave out what the list's kind says already.
void item_to(std::string& out, const Object& o, bool bare) {
  if (!bare) return json::serialize_to(out, o);
  out += '{';
  bool first = true;
  for (const auto& [k, v] : o) {
    if (k == "kind" || k == "apiVersion") continue;
    if (!first) out += ',';
    first = false;
    json::append_string(out, k);
    out += ':';
    json::serialize_to(out, v);
  }
  out += '}';
}

http::Response list_response(const Call& c, const Format& f, const Listed& l) {
  const auto& t = c.target;
  if (f.as == Format::As::table)
    return http::Response::json(
        200, table_document(*t.kind, *t.version, l.items, list_metadata(l, false),
                            {f.include_object == "None", f.include_object == "Object", f.table_version}));
  std::string out;
  bool partial = f.as == Format::As::partial;
  out += fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{},"items":[)",
                     partial ? "PartialObjectMetadataList" : t.kind->list_kind,
                     partial ? "meta.k8s.io/v1" : t.kind->api_version(t.version->name),
                     list_metadata(l, t.kind->crd && !partial));
  bool first = true;
  for (const auto& o : l.items) {
    if (!first) out += ',';
    first = false;
    if (partial) {
      Object p{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
      p["metadata"] = object_at(*o, "metadata");
      json::serialize_to(out, p);
    } else {
      item_to(out, *o, !t.kind->crd);
    }
  }
  out += "]}\n";
  return http::Response::json(200, std::move(out));
}

// The real server's answer to a deletion that left nothing behind.
Object deleted_status(const Target& t, const Object& o) {
  Object details{{"name", t.name}, {"kind", t.kind->plural}, {"uid", uid_of(o)}};
  if (!t.kind->group.empty()) details["group"] = t.kind->group;
  return Object{{"kind", "Status"},
                {"apiVersion", "v1"},
                {"metadata", Object{}},
                {"status", "Success"},
                {"details", std::move(details)}};
}

std::optional<PatchType> patch_type(std::string_view content_type) {
  auto media = text::lower(text::trim(content_type.substr(0, content_type.find(';'))));
  if (media == "application/json-patch+json") return PatchType::json;
  if (media == "application/merge-patch+json") return PatchType::merge;
  if (media == "application/strategic-merge-patch+json") return PatchType::strategic;
  if (media == "application/apply-patch+yaml" || media == "application/apply-patch+cbor") return PatchType::apply;
  return std::nullopt;
}

// Versions that were served once: the real server still knows what they look like.
bool once_served(std::string_view version, std::string_view kind) {
  static constexpr std::pair<std::string_view, std::string_view> kOld[] = {
      {"extensions/v1beta1", "Deployment DaemonSet ReplicaSet Ingress NetworkPolicy"},
      {"apps/v1beta1", "Deployment StatefulSet ControllerRevision"},
      {"apps/v1beta2", "Deployment DaemonSet ReplicaSet StatefulSet ControllerRevision"},
      {"batch/v1beta1", "CronJob"},
      {"networking.k8s.io/v1beta1", "Ingress IngressClass"},
      {"policy/v1beta1", "PodDisruptionBudget"},
      {"rbac.authorization.k8s.io/v1beta1", "Role RoleBinding ClusterRole ClusterRoleBinding"},
      {"storage.k8s.io/v1beta1", "StorageClass CSIDriver CSINode VolumeAttachment"},
      {"coordination.k8s.io/v1beta1", "Lease"},
      {"scheduling.k8s.io/v1beta1", "PriorityClass"}};
  for (const auto& [v, kinds] : kOld)
    if (v == version)
      for (auto k : text::split(kinds, ' '))
        if (k == kind) return true;
  return false;
}

// The body names the kind that the address names; a body without either takes the address's.
Answer<void> check_kind(const ServerDeps& deps, const Target& t, Object& o, bool apply) {
  auto wanted = t.kind->api_version(t.version->name);
  std::string kind = t.kind->kind;
  if (t.subresource == "scale") {
    wanted = "autoscaling/v1";
    kind = "Scale";
  }
  std::string given(api_version_of(o));
  std::string given_kind(kind_of(o));
  if (apply && (given != wanted || given_kind != kind))
    return std::unexpected(bad_request(fmt::format(
        "invalid object type: {}, Kind={}", given.find('/') == std::string::npos ? "/" + given : given, given_kind)));
  if (given.empty()) o["apiVersion"] = wanted;
  if (given_kind.empty()) o["kind"] = kind;
  if ((given.empty() || given == wanted) && (given_kind.empty() || given_kind == kind)) return {};
  if (given.empty()) given = wanted;
  if (given_kind.empty()) given_kind = kind;
  auto slash = given.find('/');
  auto group = slash == std::string::npos ? std::string() : given.substr(0, slash);
  auto version = slash == std::string::npos ? given : given.substr(slash + 1);
  // Another version of the same kind can be read, and does not belong here.
  if (given_kind == kind && (t.kind->crd ? group == t.kind->group : once_served(given, kind)))
    return std::unexpected(bad_request(
        fmt::format("the API version in the data ({}) does not match the expected API version ({})", given, wanted)));
  if (t.kind->crd && given == wanted)
    return std::unexpected(invalid_object(t.kind->group, given_kind, std::string(name_of(o)),
                                          {invalid("kind", Value(given_kind), fmt::format("must be {}", kind))}));
  auto other = deps.api->kinds().by_kind(group, given_kind);
  bool known = (other && other->version(version) != nullptr) || (group.empty() && given_kind == "List");
  auto internal = t.kind->group.empty() ? std::string("core") : t.kind->group.substr(0, t.kind->group.find('.'));
  std::string why =
      known && !t.kind->crd
          ? fmt::format("converting ({}.{}) to ({}.{}): unknown conversion", version, given_kind, internal, kind)
          : fmt::format("no kind \"{}\" is registered for version \"{}\"", given_kind, given);
  return std::unexpected(bad_request(
      fmt::format("{} in version \"{}\" cannot be handled as a {}: {}", given_kind, t.version->name, kind, why)));
}

// A merge or JSON patch as a document, with the real server's words for what is none.
Answer<Value> read_patch(std::string_view body, PatchType type) {
  auto parsed = json::parse(body, 256);
  if (!parsed)
    return std::unexpected(bad_request(fmt::format(
        "error decoding patch: {}",
        parsed.error().message == "incomplete JSON" ? "unexpected end of JSON input" : parsed.error().message)));
  bool list = type == PatchType::json;
  if (list ? !parsed->is_array() : !parsed->is_object()) {
    std::string_view is = parsed->is_array()    ? "array"
                          : parsed->is_object() ? "object"
                          : parsed->is_string() ? "string"
                          : parsed->is_bool()   ? "bool"
                                                : "number";
    return std::unexpected(
        bad_request(fmt::format("error decoding patch: json: cannot unmarshal {} into Go value of type {}", is,
                                list ? "jsonpatch.Patch" : "map[string]interface {}")));
  }
  return std::move(*parsed);
}

// What is measured when it is asked for.
task::Task<http::Response> serve_usage(const ServerDeps& deps, Call& c, const Format& format) {
  if (deps.pods == nullptr) co_return error_response(make_error(503, "ServiceUnavailable", "no node runs pods here"));
  auto selection = parse_selection(*c.target.kind, c.param("labelSelector"), c.param("fieldSelector"));
  if (!selection) co_return error_response(selection.error());
  auto measured = co_await deps.usages->measure(*deps.api, *deps.pods, c.target);
  if (!c.target.name.empty()) {
    if (measured.empty())
      co_return error_response(not_found(c.target.kind->group, c.target.kind->plural, c.target.name));
    co_return format_response(200, c, format, measured[0]);
  }
  Listed l;
  l.revision = deps.api->store().revision();
  for (auto& o : measured)
    if (selection->matches(*o)) l.items.push_back(std::move(o));
  co_return in_format(list_response(c, format, l), format);
}

}  // namespace

task::Task<http::Response> serve_resource(const ServerDeps& deps, Call& c) {
  auto& api = *deps.api;
  auto& t = c.target;
  auto negotiated = negotiate(c);
  if (!negotiated) co_return error_response(negotiated.error());
  auto format = std::move(*negotiated);
  bool sub = !t.subresource.empty();
  bool known_sub = !sub || (t.subresource == "status" && t.version->status) ||
                   (t.subresource == "scale" && t.version->scale) ||
                   (t.subresource == "finalize" && t.kind->qualified() == "namespaces");
  if (!known_sub && t.kind->crd && (t.subresource == "status" || t.subresource == "scale") && c.rest.empty())
    co_return error_response(not_found(t.kind->group, t.kind->plural, t.name));
  if (!known_sub || (!c.rest.empty()))
    co_return error_response(make_error(404, "NotFound", "the server could not find the requested resource"));
  auto verb_known = std::ranges::find(t.kind->verbs, c.verb) != t.kind->verbs.end();
  if ((!sub && !verb_known) || (sub && (c.verb == "create" || c.verb == "delete")))
    co_return error_response(not_allowed());
  if (t.kind->namespaced && t.ns.empty() && c.verb == "create") co_return error_response(not_allowed());
  auto method = c.http->method;
  bool named = !t.name.empty();
  if (method == http::Method::other || method == http::Method::options || (named && method == http::Method::post) ||
      (!named && (method == http::Method::put || method == http::Method::patch)))
    co_return error_response(not_allowed());
  if (t.kind->group == "metrics.k8s.io") co_return co_await serve_usage(deps, c, format);
  if (c.verb == "list") {
    auto q = list_query(c);
    if (!q) co_return error_response(q.error());
    if (q->at_least > api.store().revision())
      co_return error_response(too_large_revision(q->at_least, api.store().revision()));
    auto l = api.list(t, *q);
    if (!l) co_return error_response(l.error());
    co_return in_format(list_response(c, format, *l), format);
  }
  if (c.verb == "get") {
    if (auto rv = revision_of(c); !rv) co_return error_response(rv.error());
    auto o = api.get(t);
    if (!o && t.subresource == "scale" && !t.kind->crd)
      co_return error_response(not_found(t.kind->group, t.kind->plural + "/scale", t.name));
    if (!o) co_return error_response(o.error());
    if (t.subresource == "scale") co_return object_response(200, scale_of(**o, *t.version));
    co_return format_response(200, c, format, *o);
  }
  if (c.verb == "delete") {
    if (t.kind->qualified() == "namespaces" &&
        (t.name == "default" || t.name == "kube-system" || t.name == "kube-public")) {
      auto e = make_error(403, "Forbidden",
                          fmt::format("namespaces \"{}\" is forbidden: this namespace may not be deleted", t.name));
      e.details = {{"name", t.name}, {"kind", "namespaces"}};
      co_return error_response(e);
    }
    auto options = co_await delete_options(c);
    if (!options) co_return error_response(options.error());
    auto r = co_await api.remove(t, std::move(*options));
    if (!r) co_return error_response(r.error());
    // Kinds that the real server answers with the object.
    static constexpr std::string_view kShown[] = {
        "namespaces", "persistentvolumeclaims", "persistentvolumes", "podtemplates",
        "pods",       "replicationcontrollers", "resourcequotas",    "serviceaccounts",
        "services"};
    if (!r->gone || std::ranges::find(kShown, t.kind->qualified()) != std::end(kShown))
      co_return object_response(200, *r->object);
    co_return object_response(200, deleted_status(t, *r->object));
  }
  if (c.verb == "deletecollection") {
    auto q = list_query(c);
    if (!q) co_return error_response(q.error());
    auto options = co_await delete_options(c);
    if (!options) co_return error_response(options.error());
    auto r = co_await api.remove_all(t, std::move(*q), std::move(*options));
    if (!r) co_return error_response(r.error());
    Listed l;
    l.items = std::move(*r);
    l.revision = api.store().revision();
    co_return list_response(c, {}, l);
  }
  auto options = write_options(c);
  if (!options) co_return error_response(options.error());
  Answer<Written> done = std::unexpected(internal_error(""));
  if (c.verb == "patch") {
    auto type = patch_type(c.http->headers.get("content-type"));
    if (!type) co_return error_response(unsupported_media_type("415: Unsupported Media Type"));
    auto body = co_await read_body(c);
    if (!body) co_return error_response(body.error());
    Value patch;
    if (*type == PatchType::apply) {
      if (c.param("fieldManager").empty())
        co_return error_response(invalid_object("meta.k8s.io", "PatchOptions", "",
                                                {required("fieldManager", "is required for apply patch")}));
      auto o = decode_text(*body, true, options->faults);
      if (!o) co_return error_response(bad_request("error decoding YAML: " + o.error().message));
      if (auto r = check_kind(deps, t, *o, true); !r) co_return error_response(r.error());
      patch = std::move(*o);
    } else {
      if (options->force)
        co_return error_response(invalid_object("meta.k8s.io", "PatchOptions", "",
                                                {forbidden("force", "may not be specified for non-apply patch")}));
      auto parsed = read_patch(*body, *type);
      if (!parsed) co_return error_response(parsed.error());
      patch = std::move(*parsed);
    }
    done = co_await api.patch(t, *type, std::move(patch), std::move(*options));
  } else {
    auto o = co_await read_object(c, options->faults);
    if (!o) co_return error_response(o.error());
    if (auto r = check_kind(deps, t, *o, false); !r) {
      auto refused = error_response(r.error());
      // What the kind has no schema of is unknown in every field.
      if (t.kind->crd && kind_of(*o) == t.kind->kind)
        for (const auto& m : *o)
          if (auto k = std::string_view(m.key()); k != "apiVersion" && k != "kind" && k != "metadata")
            add_warnings(refused, {fmt::format("unknown field \"{}\"", k)});
      co_return refused;
    }
    if (const auto* meta = o->if_contains("metadata"); t.kind->crd && meta != nullptr && meta->is_object()) {
      std::vector<std::string> unknown;
      if (auto wrong = check_types(*builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), meta->get_object(),
                                   unknown))
        co_return error_response(bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: {}",
                                                         t.kind->kind, t.version->name, t.kind->kind, *wrong)));
    }
    if (t.version->schema != nullptr && !t.kind->crd && t.subresource != "scale") {
      std::vector<std::string> unknown;
      if (auto wrong = check_types(*t.version->schema, *o, unknown))
        co_return error_response(bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: {}",
                                                         t.kind->kind, t.version->name, t.kind->kind, *wrong)));
    }
    if (c.verb == "update" && t.kind->crd && !sub && text_at(*o, "metadata.resourceVersion").empty())
      co_return error_response(invalid_object(t.kind->group, t.kind->plural, t.name,
                                              {FieldError{"FieldValueInvalid", "metadata.resourceVersion",
                                                          "Invalid value: 0x0: must be specified for an update"}}));
    done = c.verb == "create" ? co_await api.create(t, std::move(*o), std::move(*options))
                              : co_await api.update(t, std::move(*o), std::move(*options));
  }
  if (!done) co_return error_response(done.error());
  int status = done->created ? 201 : 200;
  if (t.subresource == "scale") co_return object_response(status, scale_of(*done->object, *t.version), done->warnings);
  co_return format_response(status, c, format, done->object, done->warnings);
}

}  // namespace mr::kube
