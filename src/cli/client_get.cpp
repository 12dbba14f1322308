// `millrace get` and `millrace describe`.
#include "cli/client_commands.h"
#include "cli/client_print.h"
#include "json/parse.h"
#include "text/text.h"

namespace mr::cli {

namespace {

constexpr const char* kTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

// Where the target's objects are, with the selectors that were given.
std::string path_of(const Api& api, const ClientSettings& k, const Target& t, bool collection = false) {
  auto path = t.resource.path(k.all_namespaces ? std::string() : api.ns(), collection ? std::string() : t.name);
  add_query(path, "labelSelector", k.selector);
  auto fields = k.field_selector;
  if (collection && !t.name.empty()) fields = "metadata.name=" + t.name;
  add_query(path, "fieldSelector", fields);
  return path;
}

Result<> check(const ClientSettings& k, const std::vector<Target>& targets) {
  for (const auto& t : targets) {
    if (!t.name.empty() && (!k.selector.empty() || !k.field_selector.empty()))
      return fail(Code::invalid_argument, "a selector cannot be used together with names");
    if (!t.name.empty() && k.all_namespaces)
      return fail(Code::invalid_argument, "an object cannot be found by its name in all namespaces; use -n");
    if (!t.resource.can(t.name.empty() ? "list" : "get"))
      return fail(Code::invalid_argument, fmt::format("{} cannot be shown: the server only takes them (verbs: {})",
                                                      t.resource.qualified(), fmt::join(t.resource.verbs, ", ")));
  }
  return {};
}

void nothing_found(const Api& api, const ClientSettings& k, const std::vector<Target>& targets) {
  bool namespaced = std::ranges::any_of(targets, [](const Target& t) { return t.resource.namespaced; });
  if (namespaced && !k.all_namespaces)
    fmt::print(stderr, "No resources found in {} namespace.\n", api.ns());
  else
    fmt::print(stderr, "No resources found\n");
}

void hide_managed_fields(kube::Object& o) {
  if (auto* m = o.if_contains("metadata"); m != nullptr && m->is_object()) m->get_object().erase("managedFields");
}

TableLook look_of(const ClientSettings& k, const Resource& r, bool several) {
  return {.wide = k.output == "wide",
          .with_namespace = k.all_namespaces && r.namespaced,
          .with_labels = k.show_labels,
          .headers = !k.no_headers,
          .name_prefix = several ? r.named("") : std::string()};
}

// One kind after the other, with an empty line between them.
int show_tables(Api& api, const ClientSettings& k, const std::vector<Target>& targets, bool several) {
  int code = 0;
  bool any = false;
  for (std::size_t i = 0; i < targets.size();) {
    const auto& r = targets[i].resource;
    kube::Object merged;
    for (; i < targets.size() && targets[i].resource.path("") == r.path(""); ++i) {
      auto table = api.get(path_of(api, k, targets[i]), kTable);
      if (!table) {
        code = complain(table.error());
      } else if (merged.empty()) {
        merged = std::move(*table);
      } else if (auto* rows = merged.if_contains("rows"); rows != nullptr && rows->is_array()) {
        for (const auto& row : kube::array_at(*table, "rows")) rows->get_array().push_back(row);
      }
    }
    if (kube::array_at(merged, "rows").empty()) continue;
    TablePrinter printer(look_of(k, r, several));
    auto text = printer.print(merged);
    if (any && !k.no_headers) text.insert(0, "\n");
    if (!put(text)) return 1;
    any = true;
  }
  if (!any && code == 0) nothing_found(api, k, targets);
  return code;
}

int show_documents(Api& api, const ClientSettings& k, const std::vector<Target>& targets) {
  int code = 0;
  kube::Array items;
  for (const auto& t : targets) {
    auto add = [&](kube::Object o) {
      // Objects in a list carry no kind of their own on the wire of some servers.
      if (!o.contains("kind")) {
        o["kind"] = t.resource.kind;
        o["apiVersion"] = t.resource.group.empty() ? t.resource.version : t.resource.group + "/" + t.resource.version;
      }
      hide_managed_fields(o);
      items.emplace_back(std::move(o));
    };
    auto path = path_of(api, k, t);
    if (t.name.empty()) {
      auto all = api.list(path);
      if (!all) code = complain(all.error());
      if (all)
        for (auto& o : *all) add(std::move(o));
    } else {
      auto one = api.json({.path = path});
      if (!one) code = complain(one.error());
      if (one) add(std::move(*one));
    }
  }
  if (k.output == "name") {
    std::string out;
    for (const auto& v : items) {
      const auto& o = v.get_object();
      auto r = api.resource_of(kube::api_version_of(o), kube::kind_of(o));
      if (r) out += r->named(kube::name_of(o)) + "\n";
    }
    return put(out) ? code : 1;
  }
  bool single = targets.size() == 1 && !targets[0].name.empty();
  if (single && items.empty()) return code;
  kube::Value shown = single ? std::move(items[0])
                             : kube::Value(kube::Object{{"apiVersion", "v1"},
                                                        {"items", std::move(items)},
                                                        {"kind", "List"},
                                                        {"metadata", kube::Object{{"resourceVersion", ""}}}});
  return put(k.output == "json" ? json_text(shown) : yaml_text(shown)) ? code : 1;
}

// Shows what there is, then each change until Ctrl-C.
int watch(Api& api, const ClientSettings& k, const Target& t) {
  bool table = k.output.empty() || k.output == "wide";
  TablePrinter printer(look_of(k, t.resource, false));
  auto show = [&](kube::Object& o) {
    if (table) return put(printer.print(o));
    if (k.output == "name") return put(t.resource.named(kube::name_of(o)) + "\n");
    hide_managed_fields(o);
    return put(k.output == "json" ? json_text(o) : "---\n" + yaml_text(o));
  };
  std::string revision;
  for (;;) {
    auto path = path_of(api, k, t, true);
    if (revision.empty()) {
      auto all = api.get(path, table ? kTable : "application/json");
      if (!all) return complain(all.error());
      revision = kube::text_at(*all, "metadata.resourceVersion");
      if (table && !put(printer.print(*all))) return 1;
      if (!table)
        for (auto& v : kube::array_at(*all, "items"))
          if (auto o = v.get_object(); !show(o)) return 1;
    }
    add_query(path, "watch", "true");
    add_query(path, "allowWatchBookmarks", "true");
    add_query(path, "resourceVersion", revision);
    std::string line;
    bool closed = false;
    auto event = [&](std::string_view text) {
      auto doc = json::parse(text, 256);
      if (!doc || !doc->is_object()) return;
      auto type = json::string_or_empty(*doc, "type");
      auto* object = doc->get_object().if_contains("object");
      if (object == nullptr || !object->is_object()) return;
      auto& o = object->get_object();
      if (type == "ERROR") {
        revision.clear();  // too old: list again
        return;
      }
      auto rv = kube::text_at(o, "metadata.resourceVersion");
      if (const auto& rows = kube::array_at(o, "rows"); !rows.empty() && rows[0].is_object())
        if (auto own = kube::text_at(rows[0].get_object(), "object.metadata.resourceVersion"); !own.empty()) rv = own;
      if (!rv.empty()) revision = rv;
      if (type != "BOOKMARK" && !show(o)) closed = true;
    };
    auto ended = api.send({.path = path,
                           .accept = table ? kTable : "application/json",
                           .endless = true,
                           .sink = [&](std::string_view piece) {
                             line += piece;
                             std::size_t from = 0;
                             for (auto at = line.find('\n'); at != std::string::npos; at = line.find('\n', from)) {
                               event(std::string_view(line).substr(from, at - from));
                               from = at + 1;
                             }
                             line.erase(0, from);
                             return !closed && line.size() < (std::size_t{64} << 20);
                           }});
    if (closed) return 1;
    if (!ended && ended.error().reason == "Expired")
      revision.clear();
    else if (!ended && ended.error().code != Code::data_loss)
      return complain(ended.error());
    // The server ends watches from time to time; one that does so at once must not be asked without a pause.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

// --- describe ---

std::string age(std::string_view created) {
  std::tm tm{};
  if (::strptime(std::string(created).c_str(), "%Y-%m-%dT%H:%M:%S", &tm) == nullptr) return "<unknown>";
  auto s = std::max<std::int64_t>(0, std::time(nullptr) - ::timegm(&tm));
  if (s < 120) return fmt::format("{}s", s);
  if (s < 3600) return s < 600 && s % 60 != 0 ? fmt::format("{}m{}s", s / 60, s % 60) : fmt::format("{}m", s / 60);
  if (s < 48 * 3600) return fmt::format("{}h", s / 3600);
  return fmt::format("{}d", s / 86400);
}

// "Labels:       a=b" and one line below for each further pair.
std::string pairs(std::string_view title, const kube::Object& o) {
  std::string out = fmt::format("{:<14}", title);
  bool first = true;
  for (const auto& [name, v] : o) {
    if (name == "kubectl.kubernetes.io/last-applied-configuration") continue;
    if (!std::exchange(first, false)) out.append(14, ' ');
    auto text = v.is_string() ? std::string(v.get_string()) : json::serialize(v);
    if (text.size() > 120 || text.find('\n') != std::string::npos)
      text = text.substr(0, std::min<std::size_t>(text.find('\n'), 120)) + "…";
    out += fmt::format("{}{}{}\n", std::string_view(name), title == "Labels:" ? "=" : ": ", text);
  }
  return first ? out + "<none>\n" : out;
}

std::string description(const Resource& r, const kube::Object& o) {
  const auto& m = kube::object_at(o, "metadata");
  auto line = [](std::string_view title, std::string_view text) {
    return text.empty() ? std::string() : fmt::format("{:<14}{}\n", title, text);
  };
  auto out = line("Name:", kube::name_of(o)) + line("Namespace:", kube::namespace_of(o));
  out += line("Kind:", fmt::format("{} ({})", kube::kind_of(o), kube::api_version_of(o)));
  out += pairs("Labels:", kube::object_at(m, "labels")) + pairs("Annotations:", kube::object_at(m, "annotations"));
  if (auto t = kube::text_at(m, "creationTimestamp"); !t.empty())
    out += line("Created:", fmt::format("{} ({} ago)", t, age(t)));
  if (auto t = kube::text_at(m, "deletionTimestamp"); !t.empty())
    out += line("Terminating:", fmt::format("since {}", t));
  for (const auto& v : kube::array_at(m, "ownerReferences"))
    if (v.is_object())
      out += line("Owner:", fmt::format("{}/{}", kube::kind_of(v.get_object()), kube::text_at(v.get_object(), "name")));
  if (const auto& f = kube::array_at(m, "finalizers"); !f.empty()) out += line("Finalizers:", json::serialize(f));
  auto section = [&](std::string_view name, const kube::Value& v) {
    std::string title(name);
    title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
    bool nested = (v.is_object() && !v.get_object().empty()) || (v.is_array() && !v.get_array().empty());
    if (nested)
      out += fmt::format("{}:\n{}", title, yaml_text(v, 2));
    else
      out += line(title + ":", v.is_string() ? std::string_view(v.get_string()) : json::serialize(v));
  };
  // A secret's values stay secret: only their sizes are shown.
  bool secret = r.group.empty() && r.plural == "secrets";
  if (secret) {
    kube::Object sizes;
    for (const auto& [name, v] : kube::object_at(o, "data"))
      if (v.is_string())
        sizes[name] =
            fmt::format("{} bytes", text::base64_decode(std::string_view(v.get_string())).value_or("").size());
    section("data", sizes);
  }
  std::vector<std::string> rest;
  for (const auto& [name, v] : o) rest.emplace_back(name);
  std::ranges::sort(rest, {}, [](const std::string& s) { return std::pair(s == "status", s); });
  for (const auto& name : rest)
    if (name != "apiVersion" && name != "kind" && name != "metadata" && !(secret && name == "data"))
      section(name, o.at(name));
  return out;
}

std::string events_text(Api& api, const kube::Object& o) {
  std::string path = "/api/v1";
  if (auto ns = kube::namespace_of(o); !ns.empty()) path += fmt::format("/namespaces/{}", ns);
  path += "/events";
  add_query(path, "fieldSelector",
            fmt::format("involvedObject.name={},involvedObject.uid={}", kube::name_of(o), kube::uid_of(o)));
  auto events = api.list(path);
  if (!events) return "Events:       cannot be read: " + events.error().message + "\n";
  if (events->empty()) return "Events:       <none>\n";
  auto last = [](const kube::Object& e) {
    for (const char* key : {"lastTimestamp", "series.lastObservedTime", "eventTime", "metadata.creationTimestamp"})
      if (auto t = kube::text_at(e, key); !t.empty()) return t;
    return std::string_view();
  };
  std::multimap<std::string_view, const kube::Object*> by_time;
  for (const auto& e : *events) by_time.emplace(last(e), &e);
  std::vector<std::vector<std::string>> rows{{"  Type", "Reason", "Age", "From", "Message"}};
  for (const auto& [time, event] : by_time) {
    const auto& e = *event;
    auto when = age(time);
    if (auto n = kube::int_at(e, "count", 1); n > 1) when += fmt::format(" (x{})", n);
    auto from = kube::text_at(e, "source.component");
    if (from.empty()) from = kube::text_at(e, "reportingComponent");
    std::string message(text::trim(kube::text_at(e, "message")));
    std::ranges::replace(message, '\n', ' ');
    rows.push_back({fmt::format("  {}", kube::text_at(e, "type")), std::string(kube::text_at(e, "reason")), when,
                    std::string(from), message});
  }
  std::vector<std::size_t> widths;
  return "Events:\n" + aligned(rows, widths);
}

}  // namespace

int client_get(Api& api, const ClientSettings& k) {
  if (k.args.empty())
    return complain({Code::invalid_argument,
                     "say which kind to get: `millrace get pods`, `millrace get all` (millrace get --help)",
                     {},
                     {}});
  auto targets = targets_of(api, k.args);
  if (!targets) return complain(targets.error());
  if (auto ok = check(k, *targets); !ok) return complain(ok.error());
  if (k.watch) {
    if (targets->size() != 1)
      return complain({Code::invalid_argument, "-w watches one kind, or one object of it, at a time", {}, {}});
    return watch(api, k, (*targets)[0]);
  }
  if (!k.output.empty() && k.output != "wide") return show_documents(api, k, *targets);
  std::set<std::string> kinds;
  for (const auto& t : *targets) kinds.insert(t.resource.path(""));
  return show_tables(api, k, *targets, kinds.size() > 1);
}

int client_describe(Api& api, const ClientSettings& k) {
  if (k.args.empty())
    return complain({Code::invalid_argument,
                     "say what to describe: `millrace describe pod NAME` (millrace describe --help)",
                     {},
                     {}});
  auto targets = targets_of(api, k.args);
  if (!targets) return complain(targets.error());
  if (auto ok = check(k, *targets); !ok) return complain(ok.error());
  int code = 0;
  bool any = false;
  for (const auto& t : *targets) {
    std::vector<kube::Object> objects;
    auto path = path_of(api, k, t);
    if (t.name.empty()) {
      auto all = api.list(path);
      if (!all) code = complain(all.error());
      if (all) objects = std::move(*all);
    } else {
      auto one = api.json({.path = path});
      if (!one) code = complain(one.error());
      if (one) objects.push_back(std::move(*one));
    }
    for (auto& o : objects) {
      if (!o.contains("kind")) {
        o["kind"] = t.resource.kind;
        o["apiVersion"] = t.resource.group.empty() ? t.resource.version : t.resource.group + "/" + t.resource.version;
      }
      if (!put((any ? "\n\n" : "") + description(t.resource, o) + events_text(api, o))) return 1;
      any = true;
    }
  }
  if (!any && code == 0) nothing_found(api, k, *targets);
  return code;
}

}  // namespace mr::cli
