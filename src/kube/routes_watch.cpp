// Watches: the stream of a collection's changes, from the request to its lines of JSON.
#include "crypto/random.h"
#include "json/parse.h"
#include "kube/request.h"
#include "kube/wire.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::int64_t kLookMs = 5000;  // between two looks whether the client is there

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
  std::shared_ptr<std::atomic<bool>> gone;  // the client
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
                          {format.include_object == "None", format.include_object == "Object", format.table_version},
                          columns));
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
      if (gone && gone->load(std::memory_order_relaxed)) {
        done = true;
        break;
      }
      auto wait_ms = std::clamp<std::int64_t>((std::min(until_ns, next_bookmark_ns) - now) / 1'000'000, 1, kLookMs);
      auto batch = co_await watch.next(static_cast<long>(wait_ms));
      if (batch.expired) {
        done = true;
        line(out, "ERROR",
             json::serialize(status_of(
                 expired(fmt::format("too old resource version: {} ({})", watch.position(), store.revision())))));
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
    co_return error_response(method_not_allowed("", ""));
  auto selection = parse_selection(*t.kind, c.param("labelSelector"), c.param("fieldSelector"));
  if (!selection) co_return error_response(selection.error());
  auto format = negotiate(c);
  if (!format) co_return error_response(format.error());
  if (auto ok = check_match(c, true); !ok) co_return error_response(ok.error());
  auto revision = revision_of(c);
  if (!revision) co_return error_response(revision.error());
  std::uint64_t after = *revision;
  std::int64_t seconds = 1800 + static_cast<std::int64_t>(crypto::random_u64() % 1800);
  if (auto s = c.param("timeoutSeconds"); !s.empty()) {
    auto n = text::to_i64(s);
    if (!n) co_return error_response(bad_request(fmt::format("strconv.ParseInt: parsing \"{}\": invalid syntax", s)));
    if (*n > 0) seconds = std::min<std::int64_t>(*n, 24 * 3600);
  }
  bool initial = c.flag("sendInitialEvents");
  if (after > api.store().revision()) co_return error_response(too_large_revision(after, api.store().revision()));
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
    std::string text = fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n",
                                   json::serialize(status_of(expired(fmt::format("too old resource version: {} ({})",
                                                                                 after, api.store().revision())))));
    co_return http::Response::json(200, std::move(text));
  }
  auto stream = std::make_shared<WatchStream>(WatchStream{
      .store = api.store(),
      .watch = StoreWatch(api.store(), t.kind, t.version, t.kind->namespaced ? t.ns : "", std::move(*selection), after),
      .kind = t.kind,
      .version = t.version,
      .format = std::move(*format),
      .bookmarks = c.flag("allowWatchBookmarks"),
      .initial_end = initial,
      .first = std::move(first),
      .until_ns = time::mono_ns() + seconds * 1'000'000'000,
      .gone = c.http->gone != nullptr ? *c.http->gone : nullptr});
  http::Response r;
  r.headers.set("Content-Type", std::string("application/json"));
  r.headers.set("Cache-Control", std::string("no-cache, private"));
  r.body = http::StreamBody([stream]() -> task::Task<Result<std::string>> { return stream->next(); });
  co_return r;
}

}  // namespace mr::kube
