#include "node/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fd.h"
#include "crypto/random.h"
#include "text/text.h"

namespace mr::node {

namespace fs = std::filesystem;
using kube::Object;
using Files = std::map<std::string, FileContent>;

namespace {

std::unexpected<Error> mount_error(std::string message) {
  return fail(Code::failed_precondition, std::move(message), "FailedMount");
}

// A relative path that stays below where it starts.
bool safe_relative(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.size() > 4096 || path.contains('\0')) return false;
  return std::ranges::none_of(text::split(path, '/'), [](std::string_view p) { return p == ".."; });
}

Result<std::string> read_small(const std::string& file) {
  Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(file, errno);
  std::string out;
  char buffer[16 * 1024];
  for (ssize_t n = 0; (n = ::read(fd.get(), buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(n));
  return out;
}

Result<void> write_small(const std::string& file, const FileContent& content) {
  Fd fd(::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(file, errno);
  for (std::string_view rest = content.bytes; !rest.empty();) {
    auto n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0) return fail_errno(file, errno);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::fchmod(fd.get(), static_cast<mode_t>(content.mode));
  return {};
}

int mode_at(const Object& o, std::string_view key, int otherwise) {
  auto* v = o.if_contains(key);
  return v != nullptr && v->is_int64() ? static_cast<int>(v->get_int64() & 0777) : otherwise;
}

// The entries of a ConfigMap or Secret that `items` select (all, when there are none) into `out`.
Result<void> select(const Object* object, bool secret, const Object& source, int default_mode, Files& out) {
  Files all;
  bool optional = kube::bool_at(source, "optional");
  if (object != nullptr) {
    for (const auto& [k, v] : kube::object_at(*object, "data"))
      if (v.is_string())
        all[std::string(k)].bytes =
            secret ? text::base64_decode(v.get_string()).value_or("") : std::string(v.get_string());
    if (!secret)
      for (const auto& [k, v] : kube::object_at(*object, "binaryData"))
        if (v.is_string()) all[std::string(k)].bytes = text::base64_decode(v.get_string()).value_or("");
  }
  const auto& items = kube::array_at(source, "items");
  if (items.empty()) {
    for (auto& [k, v] : all) {
      v.mode = default_mode;
      out[k] = std::move(v);
    }
    return {};
  }
  for (const auto& item : items) {
    if (!item.is_object()) continue;
    auto key = std::string(kube::text_at(item.get_object(), "key"));
    auto path = std::string(kube::text_at(item.get_object(), "path"));
    if (!safe_relative(path)) return mount_error(fmt::format("invalid path {}", path));
    auto it = all.find(key);
    if (it == all.end()) {
      if (optional) continue;
      return mount_error(fmt::format("references non-existent {} key: {}", secret ? "secret" : "config", key));
    }
    out[path] = FileContent{it->second.bytes, mode_at(item.get_object(), "mode", default_mode)};
  }
  return {};
}

Result<void> downward(const PodFacts& facts, const Object& source, int default_mode, Files& out) {
  for (const auto& item : kube::array_at(source, "items")) {
    if (!item.is_object()) continue;
    const auto& i = item.get_object();
    auto path = std::string(kube::text_at(i, "path"));
    if (!safe_relative(path)) return mount_error(fmt::format("invalid path {}", path));
    std::string value;
    if (const auto& ref = kube::object_at(i, "fieldRef"); !ref.empty()) {
      MR_TRY(value, field_value(facts, kube::text_at(ref, "fieldPath")));
    } else {
      const auto& resource = kube::object_at(i, "resourceFieldRef");
      const Object* container = nullptr;
      for (const auto& c : kube::array_at(*facts.pod, "spec.containers"))
        if (c.is_object() && kube::text_at(c.get_object(), "name") == kube::text_at(resource, "containerName"))
          container = &c.get_object();
      if (container == nullptr) return mount_error("resourceFieldRef names no container");
      MR_TRY(value, resource_value(facts, *container, resource));
    }
    out[path] = FileContent{std::move(value), mode_at(i, "mode", default_mode)};
  }
  return {};
}

Result<void> token(const VolumeContext& c, std::string audience, long expiry, const std::string& path, int mode,
                   Files& out) {
  if (!c.issue_token) return mount_error("this node cannot issue service account tokens");
  auto account = kube::text_at(*c.facts.pod, "spec.serviceAccountName", "default");
  auto issued =
      c.issue_token({std::string(kube::namespace_of(*c.facts.pod)), std::string(account), std::move(audience), expiry,
                     std::string(kube::name_of(*c.facts.pod)), std::string(kube::uid_of(*c.facts.pod))});
  if (!issued) return mount_error(issued.error().message);
  out[path] = FileContent{std::move(*issued), mode};
  return {};
}

// ConfigMap or Secret named by `source` under `name_key`.
task::Task<Result<void>> object_files(const VolumeContext& c, bool secret, Object source, std::string_view name_key,
                                      int mode, Files& out) {
  auto ns = std::string(kube::namespace_of(*c.facts.pod));
  auto name = std::string(kube::text_at(source, name_key));
  auto object = co_await c.find(secret ? kube::gvr::secrets : kube::gvr::configmaps, kube::Key{ns, name});
  if (!object && !secret && name == "kube-root-ca.crt" && !c.ca_pem.empty()) {
    // Every namespace of a cluster has it; where nobody has written it yet, this is what it says.
    Object made = kube::make_object("v1", "ConfigMap", ns, name);
    kube::ensure(made, "data")["ca.crt"] = c.ca_pem;
    object = std::make_shared<const Object>(std::move(made));
  }
  if (!object && !kube::bool_at(source, "optional"))
    co_return mount_error(fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", name));
  co_return select(object.get(), secret, source, mode, out);
}

task::Task<Result<void>> projected(const VolumeContext& c, Object source, Files& out) {
  int mode = mode_at(source, "defaultMode", 0644);
  for (const auto& s : kube::array_at(source, "sources")) {
    if (!s.is_object()) continue;
    const auto& o = s.get_object();
    if (auto* v = o.if_contains("configMap"); v != nullptr && v->is_object()) {
      MR_CO_CHECK(co_await object_files(c, false, v->get_object(), "name", mode, out));
    } else if (auto* sec = o.if_contains("secret"); sec != nullptr && sec->is_object()) {
      MR_CO_CHECK(co_await object_files(c, true, sec->get_object(), "name", mode, out));
    } else if (auto* d = o.if_contains("downwardAPI"); d != nullptr && d->is_object()) {
      MR_CO_CHECK(downward(c.facts, d->get_object(), mode, out));
    } else if (auto* t = o.if_contains("serviceAccountToken"); t != nullptr && t->is_object()) {
      const auto& so = t->get_object();
      auto path = std::string(kube::text_at(so, "path"));
      if (!safe_relative(path)) co_return mount_error(fmt::format("invalid path {}", path));
      MR_CO_CHECK(token(c, std::string(kube::text_at(so, "audience")), kube::int_at(so, "expirationSeconds", 3600),
                        path, mode, out));
    }
  }
  co_return Result<void>{};
}

Result<std::string> host_path(const Object& source) {
  auto path = std::string(kube::text_at(source, "path"));
  auto type = kube::text_at(source, "type");
  if (path.empty() || path.front() != '/') return mount_error("hostPath needs an absolute path");
  std::error_code ec;
  if (type == "DirectoryOrCreate") fs::create_directories(path, ec);
  if (type == "FileOrCreate" && !fs::exists(path, ec))
    Fd made(::open(path.c_str(), O_CREAT | O_CLOEXEC | O_WRONLY, 0644));
  auto status = fs::status(path, ec);
  if (!fs::exists(status)) return mount_error(fmt::format("hostPath type check failed: {} does not exist", path));
  if (type.starts_with("Directory") && !fs::is_directory(status))
    return mount_error(fmt::format("hostPath type check failed: {} is not a directory", path));
  if (type.starts_with("File") && !fs::is_regular_file(status))
    return mount_error(fmt::format("hostPath type check failed: {} is not a file", path));
  return path;
}

task::Task<Result<std::string>> prepare(const VolumeContext& c, Object volume) {
  auto name = std::string(kube::text_at(volume, "name"));
  auto folder = c.pod_folder + "/volumes/" + name;
  auto source = [&](std::string_view key) -> const Object* {
    auto* v = volume.if_contains(key);
    return v != nullptr && v->is_object() ? &v->get_object() : nullptr;
  };
  if (auto* s = source("hostPath")) co_return host_path(*s);
  if (auto* s = source("persistentVolumeClaim")) {
    auto ns = std::string(kube::namespace_of(*c.facts.pod));
    auto claim = std::string(kube::text_at(*s, "claimName"));
    auto object = co_await c.find(kube::gvr::pvcs, kube::Key{ns, claim});
    if (!object) co_return mount_error(fmt::format("persistentvolumeclaim \"{}\" not found", claim));
    folder = fmt::format("{}/{}/{}", c.claims_folder, ns, claim);
    if (auto bound = std::string(kube::text_at(*object, "spec.volumeName")); !bound.empty()) {
      auto pv = co_await c.find(kube::Gvr{"", "v1", "persistentvolumes"}, kube::Key{"", bound});
      if (!pv) co_return mount_error(fmt::format("persistentvolume \"{}\" not found", bound));
      auto path = kube::text_at(*pv, "spec.hostPath.path", kube::text_at(*pv, "spec.local.path"));
      if (path.empty())
        co_return mount_error(fmt::format("volume \"{}\" is of a type that this node does not offer", bound));
      folder = std::string(path);
    } else if (kube::text_at(*object, "spec.storageClassName", "millrace-folder") != "millrace-folder") {
      co_return mount_error(fmt::format("pod has unbound immediate PersistentVolumeClaims: {}", claim));
    }
  }
  std::error_code ec;
  const bool fresh = fs::create_directories(folder, ec);
  if (ec) co_return mount_error(fmt::format("{}: {}", folder, ec.message()));
  // Whoever runs inside may write there; on this machine the data folder above it is closed to others.
  if (fresh && (source("emptyDir") != nullptr || source("persistentVolumeClaim") != nullptr))
    ::chmod(folder.c_str(), 0777);
  Files files;
  if (auto* cm = source("configMap")) {
    MR_CO_CHECK(co_await object_files(c, false, *cm, "name", mode_at(*cm, "defaultMode", 0644), files));
  } else if (auto* sec = source("secret")) {
    MR_CO_CHECK(co_await object_files(c, true, *sec, "secretName", mode_at(*sec, "defaultMode", 0644), files));
  } else if (auto* d = source("downwardAPI")) {
    MR_CO_CHECK(downward(c.facts, *d, mode_at(*d, "defaultMode", 0644), files));
  } else if (auto* p = source("projected")) {
    MR_CO_CHECK(co_await projected(c, *p, files));
  } else if (source("emptyDir") != nullptr || source("persistentVolumeClaim") != nullptr || volume.size() <= 1) {
    co_return folder;
  } else {
    std::string kind;
    for (const auto& [k, v] : volume)
      if (k != "name") kind = std::string(k);
    co_return mount_error(fmt::format("volumes of type {} are not offered by this node", kind));
  }
  MR_CO_CHECK(write_atomically(folder, files));
  co_return folder;
}

}  // namespace

Result<void> write_atomically(const std::string& folder, const Files& files) {
  std::error_code ec;
  auto link = folder + "/..data";
  auto old = fs::read_symlink(link, ec).string();
  if (!ec && !old.empty()) {
    // Nothing to do when all is as it was: readers who watch the link are not woken for nothing.
    std::size_t there = 0;
    for (fs::recursive_directory_iterator it(folder + "/" + old, ec), end; !ec && it != end; it.increment(ec))
      if (it->is_regular_file(ec)) ++there;
    bool same = there == files.size();
    for (auto it = files.begin(); same && it != files.end(); ++it) {
      auto now = read_small(folder + "/" + old + "/" + it->first);
      same = now && *now == it->second.bytes;
    }
    if (same) return {};
  } else {
    old.clear();
  }
  auto fresh = "..v" + crypto::random_hex(8);
  fs::create_directories(folder + "/" + fresh, ec);
  if (ec) return mount_error(fmt::format("{}: {}", folder, ec.message()));
  std::set<std::string> top;
  for (const auto& [path, content] : files) {
    auto full = folder + "/" + fresh + "/" + path;
    if (path.contains('/')) fs::create_directories(fs::path(full).parent_path(), ec);
    MR_CHECK(write_small(full, content));
    top.insert(path.substr(0, path.find('/')));
  }
  auto next = folder + "/..data_next";
  ::unlink(next.c_str());
  if (::symlink(fresh.c_str(), next.c_str()) != 0) return fail_errno(next, errno);
  if (::rename(next.c_str(), link.c_str()) != 0) return fail_errno(link, errno);
  for (const auto& t : top) {
    auto visible = folder + "/" + t;
    if (::access(visible.c_str(), F_OK) == 0 || fs::is_symlink(visible, ec)) continue;
    if (::symlink(("..data/" + t).c_str(), visible.c_str()) != 0) return fail_errno(visible, errno);
  }
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    auto name = it->path().filename().string();
    if (!name.starts_with("..") && !top.contains(name) && it->is_symlink(ec)) ::unlink(it->path().c_str());
  }
  if (!old.empty()) fs::remove_all(folder + "/" + old, ec);
  return {};
}

task::Task<Result<std::map<std::string, std::string>>> prepare_volumes(VolumeContext c) {
  std::map<std::string, std::string> out;
  for (const auto& v : kube::array_at(*c.facts.pod, "spec.volumes")) {
    if (!v.is_object()) continue;
    auto name = std::string(kube::text_at(v.get_object(), "name"));
    if (!safe_relative(name) || name.contains('/')) co_return mount_error("invalid volume name");
    auto folder = co_await prepare(c, v.get_object());
    if (!folder)
      co_return mount_error(
          fmt::format("MountVolume.SetUp failed for volume \"{}\" : {}", name, folder.error().message));
    out[name] = std::move(*folder);
  }
  co_return out;
}

Result<std::string> prepare_api_access(const VolumeContext& c) {
  auto folder = c.pod_folder + "/volumes/..api-access";
  std::error_code ec;
  fs::create_directories(folder, ec);
  Files files;
  MR_CHECK(token(c, {}, 3607, "token", 0644, files));
  files["ca.crt"].bytes = c.ca_pem;
  files["namespace"].bytes = std::string(kube::namespace_of(*c.facts.pod));
  MR_CHECK(write_atomically(folder, files));
  return folder;
}

Result<std::vector<Mount>> resolve_mounts(const Object& pod, const Object& container,
                                          const std::map<std::string, std::string>& volumes,
                                          const std::map<std::string, std::string>& env) {
  std::vector<Mount> out;
  for (const auto& m : kube::array_at(container, "volumeMounts")) {
    if (!m.is_object()) continue;
    const auto& o = m.get_object();
    auto name = std::string(kube::text_at(o, "name"));
    auto it = volumes.find(name);
    if (it == volumes.end())
      return fail(Code::failed_precondition, fmt::format("volume \"{}\" is not there", name),
                  "CreateContainerConfigError");
    Mount mount;
    mount.source = it->second;
    mount.target = std::string(kube::text_at(o, "mountPath"));
    mount.read_only = kube::bool_at(o, "readOnly");
    for (const auto& v : kube::array_at(pod, "spec.volumes")) {
      if (!v.is_object() || kube::text_at(v.get_object(), "name") != name) continue;
      const auto& volume = v.get_object();
      for (auto kind : {"configMap", "secret", "downwardAPI", "projected"})
        if (volume.contains(kind)) mount.read_only = true;
      if (kube::bool_at(volume, "persistentVolumeClaim.readOnly")) mount.read_only = true;
    }
    auto sub = std::string(kube::text_at(o, "subPath"));
    if (auto expr = kube::text_at(o, "subPathExpr"); !expr.empty()) sub = expand(expr, env);
    if (!sub.empty()) {
      auto bad = [&] {
        return fail(Code::failed_precondition,
                    fmt::format("failed to prepare subPath for volumeMount \"{}\" of container \"{}\"", name,
                                kube::text_at(container, "name")),
                    "CreateContainerConfigError");
      };
      if (!safe_relative(sub)) return bad();
      auto full = fs::path(it->second) / sub;
      std::error_code ec;
      if (!fs::exists(full, ec)) fs::create_directories(full, ec);
      // A link inside the volume must not lead out of it: what is mounted is what the link ends at.
      auto real = fs::canonical(full, ec);
      auto root = fs::canonical(it->second, ec);
      if (ec || !(real.string() + "/").starts_with(root.string() + "/")) return bad();
      mount.source = real.string();
    }
    if (mount.target.empty() || mount.target.front() != '/') mount.target.insert(0, "/");
    out.push_back(std::move(mount));
  }
  // Outer mounts first, so that they do not hide inner ones.
  std::ranges::sort(out, {}, &Mount::target);
  return out;
}

}  // namespace mr::node
