#include "kube/api.h"

#include "json/parse.h"
#include "kube/convert.h"
#include "kube/selectors.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

Api::Api(Store& store, Kinds& kinds, Hooks hooks) : store_(store), kinds_(kinds), hooks_(std::move(hooks)) {}
Api::~Api() = default;

bool Api::reserve(const std::string& what) const {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;  // far longer than a write takes
  std::lock_guard lock(reserved_mutex_);
  auto now = time::mono_ns();
  std::erase_if(reserved_, [&](const auto& r) { return r.second <= now; });
  return reserved_.try_emplace(what, now + kNanoseconds).second;
}

ObjectPtr as_version(ObjectPtr o, const Kind& kind, const KindVersion& version) {
  auto wanted = kind.api_version(version.name);
  if (api_version_of(*o) == wanted) return o;
  Object copy = *o;
  const auto from = api_version_of(*o);
  convert(kind, std::string(from.substr(from.find('/') + 1)), version.name, copy);
  return std::make_shared<const Object>(std::move(copy));
}

namespace {
// A LabelSelector object in the text form.
std::string selector_text(const Object& selector) {
  std::string out;
  auto add = [&](const std::string& s) { out += (out.empty() ? "" : ",") + s; };
  for (const auto& [k, v] : object_at(selector, "matchLabels"))
    add(fmt::format("{}={}", std::string_view(k), v.is_string() ? std::string_view(v.get_string()) : ""));
  for (const auto& e : array_at(selector, "matchExpressions")) {
    if (!e.is_object()) continue;
    const auto& o = e.get_object();
    std::string values;
    for (const auto& v : array_at(o, "values"))
      if (v.is_string()) values += (values.empty() ? "" : ",") + std::string(v.get_string());
    auto key = text_at(o, "key");
    auto op = text_at(o, "operator");
    if (op == "In") add(fmt::format("{} in ({})", key, values));
    if (op == "NotIn") add(fmt::format("{} notin ({})", key, values));
    if (op == "Exists") add(std::string(key));
    if (op == "DoesNotExist") add("!" + std::string(key));
  }
  return out;
}

std::int64_t int_at_path(const Object& o, std::string_view path) {
  if (path.starts_with('.')) path.remove_prefix(1);
  return int_at(o, path);
}
}  // namespace

Object scale_of(const Object& o, const KindVersion& version) {
  Object scale = make_object("autoscaling/v1", "Scale", namespace_of(o), name_of(o));
  auto& meta = metadata(scale);
  for (const char* f : {"uid", "resourceVersion", "creationTimestamp"})
    if (const auto* v = at(o, fmt::format("metadata.{}", f))) meta[f] = *v;
  scale["spec"] = Object{};
  if (auto n = int_at_path(o, version.scale_spec); n != 0) scale["spec"].get_object()["replicas"] = n;
  Object status{{"replicas", int_at_path(o, version.scale_status)}};
  std::string_view path = version.scale_selector;
  if (path.starts_with('.')) path.remove_prefix(1);
  if (!path.empty()) {
    if (const auto* v = at(o, path); v != nullptr && v->is_string()) {
      status["selector"] = *v;
    } else if (v != nullptr && v->is_object()) {
      status["selector"] = selector_text(v->get_object());
    }
  }
  scale["status"] = std::move(status);
  return scale;
}

struct Selection::Impl {
  std::optional<LabelSelector> labels;
  std::optional<FieldSelector> fields;
};
bool Selection::matches(const Object& o) const {
  if (!impl) return true;
  if (impl->labels && !impl->labels->matches(o)) return false;
  return !impl->fields || impl->fields->matches(o);
}
Answer<Selection> parse_selection(const Kind& kind, std::string_view labels, std::string_view fields) {
  if (labels.empty() && fields.empty()) return Selection{};
  auto impl = std::make_shared<Selection::Impl>();
  if (!labels.empty()) {
    auto l = LabelSelector::parse(labels);
    if (!l) return std::unexpected(l.error());
    impl->labels = std::move(*l);
  }
  if (!fields.empty()) {
    auto f = FieldSelector::parse(fields, kind);
    if (!f) return std::unexpected(f.error());
    impl->fields = std::move(*f);
  }
  return Selection{std::move(impl)};
}

Answer<Target> Api::resolve(const Gvr& r, std::string ns, std::string name) const {
  auto kind = kinds_.find(r.group, r.version, r.plural);
  if (!kind) return std::unexpected(make_error(404, "NotFound", "the server could not find the requested resource"));
  const auto* version = kind->version(r.version);
  return Target{kind, version, std::move(ns), std::move(name), {}};
}

Answer<ObjectPtr> Api::get(const Target& t) const {
  auto o = store_.get(t.kind->qualified(), {t.kind->namespaced ? t.ns : "", t.name});
  if (!o) return std::unexpected(not_found(t.kind->group, t.kind->plural, t.name));
  return as_version(std::move(o), *t.kind, *t.version);
}

namespace {

// The position of the next page: a revision and the last key given, opaque to clients.
struct Continue {
  std::uint64_t revision = 0;
  Key after;
};
// base64 for URLs, without padding, as the real server writes its tokens.
std::string encode(const Continue& c) {
  auto out = text::base64_encode(json::serialize(
      Object{{"v", "meta.k8s.io/v1"}, {"rv", c.revision}, {"start", c.after.name}, {"ns", c.after.ns}}));
  for (char& ch : out) ch = ch == '+' ? '-' : ch == '/' ? '_' : ch;
  while (out.ends_with('=')) out.pop_back();
  return out;
}
Answer<Continue> decode(std::string token) {
  auto bad = [](std::string_view why) {
    return std::unexpected(bad_request(fmt::format("invalid continue token: continue key is not valid: {}", why)));
  };
  for (char& ch : token) ch = ch == '-' ? '+' : ch == '_' ? '/' : ch;
  while (token.size() % 4 != 0) token += '=';
  auto raw = text::base64_decode(token);
  if (!raw) return bad("illegal base64 data");
  auto doc = json::parse(*raw, 4);
  if (!doc || !doc->is_object()) return bad("invalid character looking for beginning of value");
  const auto& o = doc->get_object();
  if (text_at(o, "v") != "meta.k8s.io/v1") return bad("incorrect encoded version");
  Continue c;
  c.revision = static_cast<std::uint64_t>(int_at(o, "rv"));
  c.after = {std::string(text_at(o, "ns")), std::string(text_at(o, "start"))};
  if (c.revision == 0) return bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  if (c.after.name.empty()) return bad("encoded start key empty (version meta.k8s.io/v1)");
  return c;
}

}  // namespace

Answer<Listed> Api::list(const Target& t, const ListQuery& q) const {
  auto selection = parse_selection(*t.kind, q.label_selector, q.field_selector);
  if (!selection) return std::unexpected(selection.error());
  Continue from;
  if (!q.continue_token.empty()) {
    auto c = decode(q.continue_token);
    if (!c) return std::unexpected(c.error());
    from = std::move(*c);
  }
  auto page = store_.list(t.kind->qualified(), t.kind->namespaced ? t.ns : "",
                          from.revision != 0 ? from.revision
                          : q.exact          ? q.at_least
                                             : 0);
  if (page.expired && from.revision == 0)
    return std::unexpected(expired(fmt::format("The resourceVersion for the provided list is too old.")));
  if (page.expired)
    return std::unexpected(expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter."));
  Listed out;
  out.revision = page.revision;
  std::size_t i = 0;
  if (from.revision != 0)
    i = static_cast<std::size_t>(
        std::ranges::upper_bound(page.items, from.after, {}, [](const ObjectPtr& o) { return key_of(*o); }) -
        page.items.begin());
  for (; i < page.items.size(); ++i) {
    if (!selection->matches(*page.items[i])) continue;
    if (q.limit != 0 && out.items.size() == q.limit) {
      out.continue_token = encode({page.revision, key_of(*out.items.back())});
      if (!selection->impl) out.remaining = page.items.size() - i;
      break;
    }
    out.items.push_back(as_version(page.items[i], *t.kind, *t.version));
  }
  return out;
}

StoreWatch::StoreWatch(Store& store, KindPtr kind, const KindVersion* version, std::string ns, Selection selection,
                       std::uint64_t after)
    : store_(store),
      kind_(std::move(kind)),
      version_(version),
      ns_(std::move(ns)),
      selection_(std::move(selection)),
      after_(after) {}

task::Task<StoreWatch::Batch> StoreWatch::next(long ms) {
  constexpr std::size_t kAtOnce = 256;
  Batch batch;
  auto table = kind_->qualified();
  auto changes = store_.changes(table, after_, kAtOnce);
  if (changes.items.empty() && !changes.expired && !changes.stopped) {
    co_await store_.wait(table, after_, ms);
    changes = store_.changes(table, after_, kAtOnce);
  }
  batch.expired = changes.expired;
  batch.stopped = changes.stopped;
  if (changes.expired) co_return batch;
  auto wanted = kind_->api_version(version_->name);
  for (auto& c : changes.items) {
    if (!ns_.empty() && namespace_of(*c->object) != ns_) continue;
    bool was = c->before && selection_.matches(*c->before);
    bool is = c->type != ChangeType::deleted && selection_.matches(*c->object);
    if (!was && !is) continue;
    Event e;
    e.revision = c->revision;
    e.type = !is ? EventType::deleted : !was ? EventType::added : EventType::modified;
    if (e.type == EventType::deleted && c->type != ChangeType::deleted) {
      // It left the selection: watchers see its last matching state, with the revision of the change.
      Object last = *c->before;
      metadata(last)["resourceVersion"] = std::to_string(c->revision);
      e.object = as_version(std::make_shared<const Object>(std::move(last)), *kind_, *version_);
    } else {
      e.object = as_version(c->object, *kind_, *version_);
      if (e.object == c->object) e.json = &c->json;
    }
    e.keep = c;
    batch.events.push_back(std::move(e));
  }
  after_ = std::max(after_, changes.revision);
  co_return batch;
}

}  // namespace mr::kube
