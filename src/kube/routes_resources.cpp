// create, get, list, update, patch, delete of objects, and watch: from the request to the rules and back.
#include "crypto/random.h"
#include "json/parse.h"
#include "kube/request.h"
#include "kube/wire.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

Answer<ListQuery> list_query(const Call& c) {
  ListQuery q;
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
  auto body_length = c.http->body != nullptr ? c.http->body->length() : std::optional<std::uint64_t>(0);
  if (!body_length || *body_length > 0) {
    std::vector<std::string> faults;
    auto body = co_await read_object(c, faults);
    if (!body) co_return std::unexpected(body.error());
    if (const auto* g = body->if_contains("gracePeriodSeconds"); g != nullptr && g->is_int64())
      o.grace_seconds = g->get_int64();
    if (auto p = text_at(*body, "propagationPolicy"); !p.empty()) policy = p;
    if (bool_at(*body, "orphanDependents")) policy = "Orphan";
    o.uid = text_at(*body, "preconditions.uid");
    o.resource_version = text_at(*body, "preconditions.resourceVersion");
    for (const auto& d : array_at(*body, "dryRun")) o.dry_run |= d == Value("All");
  }
  if (!policy.empty()) {
    o.propagation = propagation_of(policy);
    if (!o.propagation)
      co_return std::unexpected(
          invalid_object("meta.k8s.io", "DeleteOptions", "",
                         {not_supported("propagationPolicy", Value(policy), {"Background", "Foreground", "Orphan"})}));
  }
  co_return o;
}

// {"resourceVersion":…,"continue":…,"remainingItemCount":…}
std::string list_metadata(const Listed& l) {
  Object m{{"resourceVersion", std::to_string(l.revision)}};
  if (!l.continue_token.empty()) m["continue"] = l.continue_token;
  if (l.remaining) m["remainingItemCount"] = *l.remaining;
  return json::serialize(m);
}

http::Response list_response(const Call& c, const Format& f, const Listed& l) {
  const auto& t = c.target;
  if (f.as == Format::As::table)
    return http::Response::json(200, table_document(*t.kind, *t.version, l.items, list_metadata(l),
                                                    {f.include_object == "None", f.include_object == "Object"}));
  std::string out;
  bool partial = f.as == Format::As::partial;
  out += fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{},"items":[)",
                     partial ? "PartialObjectMetadataList" : t.kind->list_kind,
                     partial ? "meta.k8s.io/v1" : t.kind->api_version(t.version->name), list_metadata(l));
  bool first = true;
  for (const auto& o : l.items) {
    if (!first) out += ',';
    first = false;
    if (partial) {
      Object p{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
      p["metadata"] = object_at(*o, "metadata");
      json::serialize_to(out, p);
    } else {
      json::serialize_to(out, *o);
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

// The body names the kind that the address names; a body without either takes the address's.
Answer<void> check_kind(const Target& t, Object& o) {
  auto wanted = t.kind->api_version(t.version->name);
  std::string kind = t.kind->kind;
  if (t.subresource == "scale") {
    wanted = "autoscaling/v1";
    kind = "Scale";
  }
  auto given = api_version_of(o);
  auto given_kind = kind_of(o);
  if (given.empty()) {
    o["apiVersion"] = wanted;
  } else if (given != wanted) {
    return std::unexpected(bad_request(
        fmt::format("the API version in the data ({}) does not match the expected API version ({})", given, wanted)));
  }
  if (given_kind.empty())
    o["kind"] = kind;
  else if (given_kind != kind)
    return std::unexpected(bad_request(
        fmt::format("{} in version \"{}\" cannot be handled as a {}: no kind \"{}\" is registered for that collection",
                    given_kind, t.version->name, kind, given_kind)));
  return {};
}

}  // namespace

task::Task<http::Response> serve_resource(const ServerDeps& deps, Call& c) {
  auto& api = *deps.api;
  auto& t = c.target;
  auto format = negotiate(c);
  bool sub = !t.subresource.empty();
  bool known_sub = !sub || (t.subresource == "status" && t.version->status) ||
                   (t.subresource == "scale" && t.version->scale) ||
                   (t.subresource == "finalize" && t.kind->qualified() == "namespaces");
  if (!known_sub || (!c.rest.empty()))
    co_return error_response(make_error(404, "NotFound", "the server could not find the requested resource"));
  auto verb_known = std::ranges::find(t.kind->verbs, c.verb) != t.kind->verbs.end();
  if ((!sub && !verb_known) || (sub && (c.verb == "create" || c.verb == "delete")))
    co_return error_response(
        make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  if (t.kind->namespaced && t.ns.empty() && c.verb == "create")
    co_return error_response(
        make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  if (c.verb == "list") {
    auto q = list_query(c);
    if (!q) co_return error_response(q.error());
    auto l = api.list(t, *q);
    if (!l) co_return error_response(l.error());
    co_return list_response(c, format, *l);
  }
  if (c.verb == "get") {
    auto o = api.get(t);
    if (!o) co_return error_response(o.error());
    if (t.subresource == "scale") co_return object_response(200, scale_of(**o, *t.version));
    co_return format_response(200, c, format, *o);
  }
  if (c.verb == "delete") {
    auto options = co_await delete_options(c);
    if (!options) co_return error_response(options.error());
    auto r = co_await api.remove(t, std::move(*options));
    if (!r) co_return error_response(r.error());
    if (!r->gone || t.kind->qualified() == "pods") co_return object_response(200, *r->object);
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
    if (!type)
      co_return error_response(unsupported_media_type(
          "the body of the request was in an unknown format - accepted media types include: "
          "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
          "application/apply-patch+yaml, application/apply-patch+cbor"));
    auto body = co_await read_body(c);
    if (!body) co_return error_response(body.error());
    Value patch;
    if (*type == PatchType::apply) {
      if (c.param("fieldManager").empty())
        co_return error_response(invalid_object("meta.k8s.io", "PatchOptions", "",
                                                {required("fieldManager", "is required for apply patch")}));
      auto o = decode_text(*body, true, options->faults);
      if (!o) co_return error_response(o.error());
      if (auto r = check_kind(t, *o); !r) co_return error_response(r.error());
      patch = std::move(*o);
    } else {
      auto parsed = json::parse(*body, 256);
      if (!parsed) co_return error_response(bad_request("error decoding patch: " + parsed.error().message));
      patch = std::move(*parsed);
    }
    done = co_await api.patch(t, *type, std::move(patch), std::move(*options));
  } else {
    auto o = co_await read_object(c, options->faults);
    if (!o) co_return error_response(o.error());
    if (auto r = check_kind(t, *o); !r) co_return error_response(r.error());
    if (t.version->schema != nullptr && !t.kind->crd && t.subresource != "scale") {
      std::vector<std::string> unknown;
      if (auto wrong = check_types(*t.version->schema, *o, unknown))
        co_return error_response(bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: {}",
                                                         t.kind->kind, t.version->name, t.kind->kind, *wrong)));
    }
    done = c.verb == "create" ? co_await api.create(t, std::move(*o), std::move(*options))
                              : co_await api.update(t, std::move(*o), std::move(*options));
  }
  if (!done) co_return error_response(done.error());
  int status = done->created ? 201 : 200;
  if (t.subresource == "scale") co_return object_response(status, scale_of(*done->object, *t.version), done->warnings);
  co_return format_response(status, c, format, done->object, done->warnings);
}

namespace {

// The text of one watch: lines of JSON, made as changes come.
struct WatchStream {
  Store& store;
  StoreWatch watch;
  KindPtr kind;
  const KindVersion* version;
  Format format;
  bool bookmarks;
  bool initial_end;  // a bookmark with the mark of the end of the initial events is due
  std::vector<ObjectPtr> first;
  std::int64_t until_ns;
  std::int64_t next_bookmark_ns = time::mono_ns() + 30'000'000'000;
  bool columns = true;
  bool done = false;

  void line(std::string& out, std::string_view type, std::string_view object) const {
    out += fmt::format(R"({{"type":"{}","object":)", type);
    out += object;
    out += "}\n";
  }
  void object(std::string& out, std::string_view type, const ObjectPtr& o, const std::string* text) {
    if (format.as == Format::As::table) {
      auto meta = json::serialize(Object{{"resourceVersion", text_at(*o, "metadata.resourceVersion")}});
      line(out, type,
           table_document(*kind, *version, {o}, meta,
                          {format.include_object == "None", format.include_object == "Object"}, columns));
      columns = false;
    } else if (format.as == Format::As::partial) {
      Object p{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
      p["metadata"] = object_at(*o, "metadata");
      line(out, type, json::serialize(p));
    } else if (text != nullptr) {
      line(out, type, *text);
    } else {
      line(out, type, json::serialize(*o));
    }
  }
  void bookmark(std::string& out, bool end_of_initial) const {
    Object o{{"kind", format.as == Format::As::partial ? "PartialObjectMetadata" : kind->kind},
             {"apiVersion", format.as == Format::As::partial ? "meta.k8s.io/v1" : kind->api_version(version->name)}};
    Object meta{{"resourceVersion", std::to_string(watch.position())}, {"creationTimestamp", nullptr}};
    if (end_of_initial) meta["annotations"] = Object{{"k8s.io/initial-events-end", "true"}};
    o["metadata"] = std::move(meta);
    line(out, "BOOKMARK", json::serialize(o));
  }
  task::Task<Result<std::string>> next() {
    std::string out;
    if (!first.empty() || initial_end) {
      for (const auto& o : first) object(out, "ADDED", o, nullptr);
      first.clear();
      if (initial_end) bookmark(out, true);
      initial_end = false;
      if (!out.empty()) co_return out;
    }
    while (!done) {
      auto now = time::mono_ns();
      if (now >= until_ns) {
        done = true;
        if (bookmarks) bookmark(out, false);
        break;
      }
      auto wait_ms = std::max<std::int64_t>(1, (std::min(until_ns, next_bookmark_ns) - now) / 1'000'000);
      auto batch = co_await watch.next(static_cast<long>(wait_ms));
      if (batch.expired) {
        done = true;
        line(out, "ERROR",
             json::serialize(status_of(expired(fmt::format("too old resource version: {}", watch.position())))));
        break;
      }
      static constexpr std::string_view kNames[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
      for (const auto& e : batch.events) object(out, kNames[static_cast<int>(e.type)], e.object, e.json);
      if (batch.stopped) done = true;
      if (!out.empty()) break;
      if (time::mono_ns() >= next_bookmark_ns) {
        next_bookmark_ns = time::mono_ns() + 30'000'000'000;
        if (!bookmarks) continue;
        bookmark(out, false);
        break;
      }
    }
    co_return out;
  }
};

}  // namespace

task::Task<http::Response> serve_watch(const ServerDeps& deps, Call& c) {
  auto& api = *deps.api;
  auto& t = c.target;
  if (std::ranges::find(t.kind->verbs, "watch") == t.kind->verbs.end())
    co_return error_response(
        make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  auto selection = parse_selection(*t.kind, c.param("labelSelector"), c.param("fieldSelector"));
  if (!selection) co_return error_response(selection.error());
  std::uint64_t after = 0;
  if (auto rv = c.param("resourceVersion"); !rv.empty()) {
    auto n = text::to_u64(rv);
    if (!n)
      co_return error_response(
          invalid_object("meta.k8s.io", "ListOptions", "",
                         {invalid("resourceVersion", Value(rv),
                                  fmt::format("strconv.ParseUint: parsing \"{}\": invalid syntax", rv))}));
    after = *n;
  }
  std::int64_t seconds = 1800 + static_cast<std::int64_t>(crypto::random_u64() % 1800);
  if (auto s = c.param("timeoutSeconds"); !s.empty())
    if (auto n = text::to_i64(s); n && *n > 0) seconds = std::min<std::int64_t>(*n, 24 * 3600);
  bool initial = c.flag("sendInitialEvents");
  std::vector<ObjectPtr> first;
  if (after == 0 || initial) {
    ListQuery q;
    q.label_selector = c.param("labelSelector");
    q.field_selector = c.param("fieldSelector");
    auto l = api.list(t, q);
    if (!l) co_return error_response(l.error());
    after = l->revision;
    if (c.param("sendInitialEvents") != "false") first = std::move(l->items);
  } else if (api.store().changes(t.kind->qualified(), after, 1).expired) {
    // Clients of watches take the error as an event or as a status; the real server sends the event.
    std::string text =
        fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n",
                    json::serialize(status_of(expired(fmt::format("too old resource version: {}", after)))));
    co_return http::Response::json(200, std::move(text));
  }
  auto stream = std::make_shared<WatchStream>(WatchStream{
      .store = api.store(),
      .watch = StoreWatch(api.store(), t.kind, t.version, t.kind->namespaced ? t.ns : "", std::move(*selection), after),
      .kind = t.kind,
      .version = t.version,
      .format = negotiate(c),
      .bookmarks = c.flag("allowWatchBookmarks"),
      .initial_end = initial,
      .first = std::move(first),
      .until_ns = time::mono_ns() + seconds * 1'000'000'000});
  http::Response r;
  r.headers.set("Content-Type", std::string("application/json"));
  r.headers.set("Cache-Control", std::string("no-cache, private"));
  r.body = http::StreamBody([stream]() -> task::Task<Result<std::string>> { return stream->next(); });
  co_return r;
}

}  // namespace mr::kube
