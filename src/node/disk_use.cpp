#include "node/disk_use.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <set>

#include "core/fd.h"
#include "json/parse.h"
#include "node/env.h"
#include "text/text.h"

namespace mr::node {

using kube::Object;

namespace {

constexpr std::size_t kMaxEntries = 2'000'000;  // of one look
constexpr int kMaxDepth = 128;                  // open folders at once

struct Walk {
  std::int64_t bytes = 0, enough = 0;
  std::size_t entries = 0;
  dev_t device = 0;
  std::set<std::pair<dev_t, ino_t>> seen;  // files with several names
  [[nodiscard]] bool over() const { return bytes > enough || entries > kMaxEntries; }

  void count(const struct stat& st) {
    if (st.st_nlink > 1 && !S_ISDIR(st.st_mode) && !seen.insert({st.st_dev, st.st_ino}).second) return;
    bytes += static_cast<std::int64_t>(st.st_blocks) * 512;
  }
  // What a pod has may change under our eyes: what is gone is not counted.
  void folder(Fd fd, int depth) {
    DIR* dir = ::fdopendir(fd.get());
    if (dir == nullptr) return;
    const int here = fd.release();
    while (!over()) {
      const auto* e = ::readdir(dir);
      if (e == nullptr) break;
      const std::string_view name(e->d_name);
      if (name == "." || name == "..") continue;
      struct stat st{};
      if (::fstatat(here, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != device) continue;
      ++entries;
      count(st);
      if (!S_ISDIR(st.st_mode) || depth == 0) continue;
      Fd next(::openat(here, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (next) folder(std::move(next), depth - 1);
    }
    ::closedir(dir);
  }
};

std::string quantity_text(const kube::Value& v) {
  return v.is_string() ? std::string(v.get_string()) : json::serialize(v);
}

// A limit in bytes and as it was written; 0: none.
std::pair<std::int64_t, std::string> limit_of(const kube::Value* v) {
  if (v == nullptr || v->is_null()) return {0, {}};
  auto text = quantity_text(*v);
  const auto q = parse_quantity(text);
  if (!(q > 0) || q > 9e18) return {0, {}};
  return {static_cast<std::int64_t>(q), std::move(text)};
}

// emptyDirs on the disk; those of medium Memory are not, on a cluster.
bool on_disk(const Object& volume) {
  const auto* e = volume.if_contains("emptyDir");
  return e != nullptr && (!e->is_object() || kube::text_at(e->get_object(), "medium") != "Memory");
}

}  // namespace

std::int64_t disk_use(const std::vector<std::string>& paths, std::int64_t enough) {
  Walk w;
  w.enough = enough;
  for (const auto& path : paths) {
    struct stat st{};
    if (::lstat(path.c_str(), &st) != 0) continue;
    if (!S_ISDIR(st.st_mode)) {
      w.count(st);
      continue;
    }
    w.device = st.st_dev;
    if (Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); fd)
      w.folder(std::move(fd), kMaxDepth);
    if (w.over()) break;
  }
  return w.bytes;
}

std::vector<DiskUser> disk_users(const Object& pod, const PodFolders& folders) {
  std::vector<DiskUser> out;
  std::vector<std::string> of_pod;
  for (const auto& v : kube::array_at(pod, "spec.volumes")) {
    if (!v.is_object() || !v.get_object().contains("emptyDir")) continue;
    const auto& volume = v.get_object();
    const auto name = kube::text_at(volume, "name");
    auto at = std::ranges::find(folders.volumes, name, [](const auto& f) { return std::string_view(f.first); });
    if (at == folders.volumes.end()) continue;
    if (on_disk(volume)) of_pod.push_back(at->second);
    auto [limit, text] = limit_of(kube::at(volume, "emptyDir.sizeLimit"));
    if (limit > 0)
      out.push_back({.container = {},
                     .folders = {at->second},
                     .limit = limit,
                     .text = std::move(text),
                     .empty_dir = std::string(name)});
  }
  // The pod's limit is the sum of its containers', where each has one.
  double sum = 0;
  bool all = true, any = false;
  std::vector<DiskUser> single;
  const auto step_limit = kube::annotation(pod, "millrace.dev/ephemeral-storage-limit");
  for (const auto& c : kube::array_at(pod, "spec.containers")) {
    if (!c.is_object()) continue;
    const auto name = std::string(kube::text_at(c.get_object(), "name"));
    DiskUser u{.container = name,
               .folders = {folders.containers + "/" + name, folders.logs + "/" + name},
               .limit = 0,
               .text = {},
               .empty_dir = {}};
    for (const auto& f : u.folders) of_pod.push_back(f);
    const auto& limits = kube::object_at(c.get_object(), "resources.limits");
    std::tie(u.limit, u.text) = limit_of(limits.if_contains("ephemeral-storage"));
    all = all && u.limit > 0;
    any = any || u.limit > 0;
    sum += static_cast<double>(u.limit);
    if (u.limit == 0 && single.empty() && !step_limit.empty()) {
      const kube::Value text(step_limit);
      std::tie(u.limit, u.text) = limit_of(&text);
      for (auto counted : text::split(kube::annotation(pod, "millrace.dev/counted-volumes"), ','))
        for (const auto& [volume, folder] : folders.volumes)
          if (volume == text::trim(counted)) u.folders.push_back(folder);
    }
    single.push_back(std::move(u));
  }
  if (any && all)
    out.push_back({.container = {},
                   .folders = of_pod,
                   .limit = static_cast<std::int64_t>(std::min(sum, 9e18)),
                   .text = single.size() == 1 ? single.front().text : bytes_text(static_cast<std::int64_t>(sum)),
                   .empty_dir = {}});
  for (auto& u : single)
    if (u.limit > 0) out.push_back(std::move(u));
  return out;
}

std::optional<std::string> over_limit(const std::vector<DiskUser>& users) {
  for (const auto& u : users) {
    if (disk_use(u.folders, u.limit) <= u.limit) continue;
    if (!u.empty_dir.empty())
      return fmt::format("Usage of EmptyDir volume \"{}\" exceeds the limit \"{}\". ", u.empty_dir, u.text);
    if (!u.container.empty())
      return fmt::format("Container {} exceeded its local ephemeral storage limit \"{}\". ", u.container, u.text);
    return fmt::format("Pod ephemeral local storage usage exceeds the total limit of containers {}. ", u.text);
  }
  return std::nullopt;
}

std::vector<std::string> pod_disk(const Object& pod, const PodFolders& folders) {
  std::vector<std::string> out{folders.containers, folders.logs};
  const auto counted = text::split(kube::annotation(pod, "millrace.dev/counted-volumes"), ',');
  for (const auto& v : kube::array_at(pod, "spec.volumes")) {
    if (!v.is_object()) continue;
    const auto name = kube::text_at(v.get_object(), "name");
    if (!on_disk(v.get_object()) &&
        std::ranges::none_of(counted, [&](std::string_view c) { return text::trim(c) == name; }))
      continue;
    for (const auto& [volume, folder] : folders.volumes)
      if (volume == name) out.push_back(folder);
  }
  return out;
}

std::string bytes_text(std::int64_t bytes) {
  for (auto [unit, name] : {std::pair{30, "Gi"}, {20, "Mi"}, {10, "Ki"}})
    if (bytes >= (std::int64_t{1} << unit) && bytes % (std::int64_t{1} << unit) == 0)
      return fmt::format("{}{}", bytes >> unit, name);
  return std::to_string(bytes);
}

}  // namespace mr::node
