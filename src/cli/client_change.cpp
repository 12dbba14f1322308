// `millrace apply` and `millrace delete`.
#include "cli/client_commands.h"
#include "cli/client_files.h"
#include "json/parse.h"

namespace mr::cli {

namespace {

using Clock = std::chrono::steady_clock;

int wrong(std::string message) { return complain({Code::invalid_argument, std::move(message), {}, {}}); }

// A manifest's collection and place.
struct Place {
  Resource resource;
  std::string ns, name;
  [[nodiscard]] std::string path() const { return resource.path(ns, name); }
};

Result<Place> place_of(Api& api, const Manifest& m) {
  Place p;
  auto r = api.resource_of(kube::api_version_of(m.object), kube::kind_of(m.object));
  if (!r) {
    auto e = r.error();
    if (e.code == Code::not_found)
      e.message = fmt::format("{}: {}. A custom kind needs its CustomResourceDefinition first", m.from, e.message);
    return std::unexpected(std::move(e));
  }
  p.resource = std::move(*r);
  p.name = kube::name_of(m.object);
  if (p.name.empty())
    return fail(
        Code::invalid_argument,
        fmt::format("{}: the {} has no metadata.name, by which it is found again{}", m.from, kube::kind_of(m.object),
                    kube::text_at(m.object, "metadata.generateName").empty() ? "" : " (generateName is no name)"));
  if (!p.resource.namespaced) return p;
  p.ns = kube::namespace_of(m.object);
  if (p.ns.empty()) p.ns = api.ns();
  if (api.ns_given() && p.ns != api.ns())
    return fail(
        Code::invalid_argument,
        fmt::format("{}: the namespace of the object \"{}\" is not the namespace \"{}\" of -n; leave -n out, or "
                    "give -n {}",
                    m.from, p.ns, api.ns(), p.ns));
  return p;
}

// A kind whose definition was applied a moment ago may take a moment to be served.
Result<Place> place_when_served(Api& api, const Manifest& m, bool defined) {
  auto end = Clock::now() + std::chrono::seconds(defined ? 10 : 0);
  for (;;) {
    auto p = place_of(api, m);
    if (p || p.error().code != Code::not_found || Clock::now() >= end) return p;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    api.forget_discovery();
  }
}

Result<std::string> apply_one(Api& api, const ClientSettings& k, const Place& p, kube::Object o) {
  auto& meta = kube::metadata(o);
  meta.erase("managedFields");  // the server's own bookkeeping: it refuses to be told it
  if (p.resource.namespaced) meta["namespace"] = p.ns;
  auto before = api.json({.path = p.path()});
  if (!before && before.error().code != Code::not_found) return std::unexpected(before.error());
  auto path = p.path();
  add_query(path, "fieldManager", "millrace");
  add_query(path, "fieldValidation", "Strict");
  if (k.force_conflicts) add_query(path, "force", "true");
  if (k.dry_run == "server") add_query(path, "dryRun", "All");
  auto after = api.json({.method = http::Method::patch,
                         .path = path,
                         .body = json::serialize(o),
                         .content_type = "application/apply-patch+yaml"});
  if (!after) {
    auto e = after.error();
    if (e.reason == "Conflict")
      e.message +=
          "\nAnother manager has set these fields. Take them out of your file, or take them over with "
          "--force-conflicts.";
    if (e.reason == "NotFound" && e.message.find("namespaces \"") != std::string::npos)
      e.message +=
          k.dry_run == "server"
              ? "\nA dry run keeps nothing: not the namespace either, if it is in the same file."
              : fmt::format("\nMake the namespace first: a Namespace object named {} in the file will do.", p.ns);
    return std::unexpected(std::move(e));
  }
  // What a dry run would change shows in the object: it keeps its revision.
  auto content = [](kube::Object x) {
    auto& m = kube::metadata(x);
    m.erase("managedFields");
    m.erase("resourceVersion");
    m.erase("generation");
    return kube::Value(std::move(x));
  };
  const char* what =
      !before ? "created"
      : kube::text_at(*before, "metadata.resourceVersion") != kube::text_at(*after, "metadata.resourceVersion") ||
              (k.dry_run == "server" && !kube::same(content(*before), content(*after)))
          ? "configured"
          : "unchanged";
  return fmt::format("{} {}{}\n", p.resource.named(p.name), what, k.dry_run == "server" ? " (server dry run)" : "");
}

// --- delete ---

struct Doomed {
  Place place;
  std::string uid;  // of the object that was deleted; empty: not known
};

Result<> wait_gone(Api& api, const ClientSettings& k, const Doomed& d) {
  auto end = Clock::now() + std::chrono::seconds(k.timeout_s);
  auto pause = std::chrono::milliseconds(20);
  for (;;) {
    auto now = api.json({.path = d.place.path()});
    if (!now && now.error().code == Code::not_found) return {};
    if (!now) return std::unexpected(now.error());
    if (!d.uid.empty() && kube::uid_of(*now) != d.uid) return {};  // another one of that name
    if (k.timeout_s > 0 && Clock::now() >= end) {
      std::string held;
      for (const auto& f : kube::array_at(*now, "metadata.finalizers"))
        if (f.is_string()) held += fmt::format("{}{}", held.empty() ? "" : ", ", std::string_view(f.get_string()));
      return fail(Code::deadline_exceeded,
                  fmt::format("{} is still there after {} s{}{}", d.place.resource.named(d.place.name), k.timeout_s,
                              held.empty() ? "" : "; its finalizers hold it: ", held));
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 3 / 2, std::chrono::milliseconds(1000));
  }
}

// What arguments and files name, in order. Errors are printed and counted in `code`.
std::vector<Place> doomed_places(Api& api, const ClientSettings& k, int& code) {
  std::vector<Place> out;
  if (!k.files.empty()) {
    auto manifests = read_manifests(k.files);
    if (!manifests) code = complain(manifests.error());
    if (manifests)
      for (const auto& m : *manifests) {
        auto p = place_of(api, m);
        if (p) out.push_back(std::move(*p));
        if (!p) code = complain(p.error());
      }
    return out;
  }
  auto targets = targets_of(api, k.args);
  if (!targets) {
    code = complain(targets.error());
    return out;
  }
  for (const auto& t : *targets) {
    if (!t.name.empty()) {
      if (k.all || !k.selector.empty()) {
        code = wrong("names cannot be used together with -l or --all");
        return {};
      }
      out.push_back({t.resource, api.ns(), t.name});
      continue;
    }
    if (!k.all && k.selector.empty()) {
      code = wrong(fmt::format("which {}? Give names, -l LABELS, or --all", t.resource.qualified()));
      return {};
    }
    if (!t.resource.can("delete")) continue;  // a category may hold such kinds
    auto path = t.resource.path(api.ns());
    add_query(path, "labelSelector", k.selector);
    auto all = api.list(path);
    if (!all) code = complain(all.error());
    if (all)
      for (const auto& o : *all)
        out.push_back({t.resource, std::string(kube::namespace_of(o)), std::string(kube::name_of(o))});
  }
  if (out.empty() && code == 0) fmt::print(stderr, "No resources found\n");
  return out;
}

}  // namespace

int client_apply(Api& api, const ClientSettings& k) {
  if (k.files.empty()) return wrong("say what to apply: `millrace apply -f FILE` (millrace apply --help)");
  auto manifests = read_manifests(k.files);
  if (!manifests) return complain(manifests.error());
  int code = 0;
  bool defined = false;
  for (auto& m : *manifests) {
    auto place = place_when_served(api, m, defined);
    if (!place) {
      code = complain(place.error());
      continue;
    }
    auto done = apply_one(api, k, *place, std::move(m.object));
    if (done) {
      if (!put(*done)) return 1;
      defined = defined || (place->resource.plural == "customresourcedefinitions" && k.dry_run != "server");
    } else {
      auto e = done.error();
      e.message += fmt::format("\n(applying {} of {})", place->resource.named(place->name), m.from);
      code = complain(e);
    }
  }
  return code;
}

int client_delete(Api& api, const ClientSettings& k) {
  if (k.args.empty() == k.files.empty())
    return wrong("say what to delete, either by KIND NAME or by -f FILE (millrace delete --help)");
  int code = 0;
  std::vector<Doomed> doomed;
  kube::Object options{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Background"}};
  if (k.grace_period >= 0) options["gracePeriodSeconds"] = k.grace_period;
  for (auto& p : doomed_places(api, k, code)) {
    auto answer = api.json({.method = http::Method::del, .path = p.path(), .body = json::serialize(options)});
    if (!answer) {
      if (answer.error().code != Code::not_found || !k.ignore_not_found) code = complain(answer.error());
      continue;
    }
    // The object as it is now, or a Status that names it.
    auto uid = kube::kind_of(*answer) == "Status" ? kube::text_at(*answer, "details.uid") : kube::uid_of(*answer);
    auto kind = p.resource.group.empty() ? p.resource.singular : p.resource.singular + "." + p.resource.group;
    if (!put(fmt::format("{} \"{}\" deleted\n", kind, p.name))) return 1;
    doomed.push_back({std::move(p), std::string(uid)});
  }
  if (k.wait)
    for (const auto& d : doomed)
      if (auto gone = wait_gone(api, k, d); !gone) code = complain(gone.error());
  return code;
}

}  // namespace mr::cli
