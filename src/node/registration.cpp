#include "node/registration.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <fstream>
#include <thread>

#include "crypto/random.h"
#include "node/env.h"
#include "task/pool.h"
#include "text/text.h"

namespace mr::node {

using kube::Array;
using kube::Object;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kStorageClass = "millrace-folder";
constexpr std::string_view kProvisioner = "millrace.dev/folder";
const kube::Gvr kStorageClasses{"storage.k8s.io", "v1", "storageclasses"};
const kube::Gvr kLeases{"coordination.k8s.io", "v1", "leases"};

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string os_image() {
  std::ifstream in("/etc/os-release");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("PRETTY_NAME=")) {
      auto v = line.substr(12);
      std::erase(v, '"');
      return v;
    }
  return "Linux";
}

std::string architecture(std::string_view machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return std::string(machine);
}

// Out of the way at once, so that a new claim of the same name begins empty; gone when the disk has time.
void drop_folder(const std::string& claims_folder, const std::string& folder) {
  if (!folder.starts_with(claims_folder + "/") || folder.contains("..")) return;
  auto trash = fmt::format("{}/.dropped-{}", claims_folder, crypto::random_hex(8));
  if (::rename(folder.c_str(), trash.c_str()) != 0) return;
  (void)task::disk_pool().submit([trash] {
    std::error_code ec;
    fs::remove_all(trash, ec);
  });
}

bool missing(const Error& e) { return e.code == Code::not_found || e.reason == "NotFound"; }

}  // namespace

Machine measure(const std::string& data_folder) {
  Machine m;
  m.cpus = std::max(1U, std::thread::hardware_concurrency());
  struct sysinfo info{};
  if (::sysinfo(&info) == 0) m.memory = static_cast<std::int64_t>(info.totalram) * info.mem_unit;
  struct statvfs disk{};
  if (::statvfs(data_folder.c_str(), &disk) == 0)
    m.disk = static_cast<std::int64_t>(disk.f_blocks) * static_cast<std::int64_t>(disk.f_frsize);
  return m;
}

task::Task<Result<void>> register_node(kube::Client& client, std::string name, Machine m) {
  utsname u{};
  ::uname(&u);
  auto arch = architecture(u.machine);
  auto found = co_await client.get(kube::gvr::nodes, {"", name});
  if (!found) {
    if (!missing(found.error())) co_return std::unexpected(found.error());
    auto node = kube::make_object("v1", "Node", "", name);
    auto& labels = kube::ensure(node, "metadata.labels");
    labels["kubernetes.io/hostname"] = name;
    for (auto key : {"kubernetes.io/os", "beta.kubernetes.io/os"}) labels[key] = "linux";
    for (auto key : {"kubernetes.io/arch", "beta.kubernetes.io/arch"}) labels[key] = arch;
    labels["node-role.kubernetes.io/control-plane"] = "";
    kube::ensure(node, "spec");
    found = co_await client.create(kube::gvr::nodes, std::move(node));
    if (!found) co_return std::unexpected(found.error());
  }
  Object node = **found;
  auto& status = kube::ensure(node, "status");
  Object capacity{{"cpu", std::to_string(static_cast<int>(m.cpus))},
                  {"ephemeral-storage", fmt::format("{}Ki", m.disk / 1024)},
                  {"memory", fmt::format("{}Ki", m.memory / 1024)},
                  {"pods", "500"}};
  status["allocatable"] = capacity;
  status["capacity"] = std::move(capacity);
  status["addresses"] =
      Array{Object{{"type", "InternalIP"}, {"address", "127.0.0.1"}}, Object{{"type", "Hostname"}, {"address", name}}};
  status["nodeInfo"] = Object{{"architecture", arch},
                              {"bootID", first_line("/proc/sys/kernel/random/boot_id")},
                              {"containerRuntimeVersion", "millrace://0.1.0"},
                              {"kernelVersion", u.release},
                              {"kubeProxyVersion", "v1.32.4"},
                              {"kubeletVersion", "v1.32.4"},
                              {"machineID", first_line("/etc/machine-id")},
                              {"operatingSystem", "linux"},
                              {"osImage", os_image()},
                              {"systemUUID", first_line("/etc/machine-id")}};
  kube::set_condition(node, "MemoryPressure", "False", "KubeletHasSufficientMemory",
                      "kubelet has sufficient memory available");
  kube::set_condition(node, "DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
  kube::set_condition(node, "PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available");
  kube::set_condition(node, "Ready", "True", "KubeletReady", "kubelet is posting ready status");
  auto now = kube::now_text();
  if (auto* conditions = kube::ensure(node, "status").if_contains("conditions");
      conditions != nullptr && conditions->is_array())
    for (auto& c : conditions->get_array())
      if (c.is_object()) c.get_object()["lastHeartbeatTime"] = now;
  Object patch{{"status", kube::object_at(node, "status")}};
  auto done = co_await client.patch(kube::gvr::nodes, {"", name}, kube::PatchType::merge, std::move(patch), "status",
                                    "kubelet");
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>{};
}

task::Task<Result<void>> renew_lease(kube::Client& client, std::string name) {
  kube::Key key{"kube-node-lease", name};
  Object spec{{"holderIdentity", name}, {"leaseDurationSeconds", 40}, {"renewTime", kube::micro_now_text()}};
  auto done = co_await client.patch(kLeases, key, kube::PatchType::merge, Object{{"spec", spec}}, {}, "kubelet");
  if (done) co_return Result<void>{};
  if (!missing(done.error())) co_return std::unexpected(done.error());
  auto lease = kube::make_object("coordination.k8s.io/v1", "Lease", key.ns, key.name);
  lease["spec"] = spec;
  auto made = co_await client.create(kLeases, lease);
  if (!made && missing(made.error())) {
    (void)co_await client.create(kube::gvr::namespaces, kube::make_object("v1", "Namespace", "", key.ns));
    made = co_await client.create(kLeases, std::move(lease));
  }
  if (!made) co_return std::unexpected(made.error());
  co_return Result<void>{};
}

task::Task<Result<void>> ensure_storage_class(kube::Client& client) {
  auto sc = kube::make_object("storage.k8s.io/v1", "StorageClass", "", kStorageClass);
  kube::ensure(sc, "metadata.annotations")["storageclass.kubernetes.io/is-default-class"] = "true";
  sc["provisioner"] = kProvisioner;
  sc["reclaimPolicy"] = "Delete";
  sc["volumeBindingMode"] = "Immediate";
  sc["allowVolumeExpansion"] = true;
  auto made = co_await client.create(kStorageClasses, std::move(sc));
  if (!made && made.error().code != Code::already_exists && made.error().reason != "AlreadyExists")
    co_return std::unexpected(made.error());
  co_return Result<void>{};
}

task::Task<Result<kube::Again>> reconcile_claim(kube::Manager& manager, std::string claims_folder, kube::Key key) {
  auto& client = manager.client();
  auto claim = manager.informer(kube::gvr::pvcs).get(key);
  auto& volumes = manager.informer(kPersistentVolumes);
  // Volumes of a claim that is gone, or of an earlier one with this name.
  for (const auto& pv : volumes.list()) {
    if (kube::text_at(*pv, "spec.claimRef.name") != key.name ||
        kube::text_at(*pv, "spec.claimRef.namespace") != key.ns ||
        kube::annotation(*pv, "pv.kubernetes.io/provisioned-by") != kProvisioner ||
        (claim && kube::text_at(*pv, "spec.claimRef.uid") == kube::uid_of(*claim)))
      continue;
    if (kube::text_at(*pv, "spec.persistentVolumeReclaimPolicy") == "Retain") {
      if (kube::text_at(*pv, "status.phase") != "Released")
        (void)co_await client.patch(kPersistentVolumes, kube::key_of(*pv), kube::PatchType::merge,
                                    Object{{"status", Object{{"phase", "Released"}}}}, "status");
      continue;
    }
    drop_folder(claims_folder, std::string(kube::text_at(*pv, "spec.hostPath.path")));
    (void)co_await client.remove(kPersistentVolumes, kube::key_of(*pv));
  }
  if (!claim) co_return kube::Again{};
  if (kube::text_at(*claim, "status.phase") == "Bound" || kube::deleting(*claim)) co_return kube::Again{};
  auto wanted_class = kube::text_at(*claim, "spec.storageClassName", kStorageClass);
  auto volume = std::string(kube::text_at(*claim, "spec.volumeName"));
  kube::ObjectPtr bound;
  if (!volume.empty()) {
    bound = volumes.get({"", volume});
    if (!bound) co_return kube::Again{};
  } else if (wanted_class != kStorageClass) {
    // A volume that somebody has made by hand for this class.
    auto asked = parse_quantity(kube::text_at(*claim, "spec.resources.requests.storage", "0"));
    for (const auto& pv : volumes.list())
      if (kube::text_at(*pv, "spec.storageClassName") == wanted_class && kube::at(*pv, "spec.claimRef") == nullptr &&
          parse_quantity(kube::text_at(*pv, "spec.capacity.storage", "0")) >= asked)
        bound = pv;
    if (!bound) {
      manager.event(*claim, "Warning", "ProvisioningFailed",
                    fmt::format("storageclass.storage.k8s.io \"{}\" not found; this platform's class is {}",
                                wanted_class, kStorageClass),
                    "persistentvolume-controller");
      co_return kube::Again{};
    }
  }
  Object reference{{"apiVersion", "v1"},
                   {"kind", "PersistentVolumeClaim"},
                   {"name", key.name},
                   {"namespace", key.ns},
                   {"uid", kube::uid_of(*claim)}};
  if (!bound) {
    volume = fmt::format("pvc-{}", kube::uid_of(*claim));
    auto folder = fmt::format("{}/{}/{}", claims_folder, key.ns, key.name);
    std::error_code ec;
    fs::create_directories(folder, ec);
    if (ec) co_return fail(Code::internal, fmt::format("{}: {}", folder, ec.message()));
    ::chmod(folder.c_str(), 0777);  // for whoever a pod runs as
    auto pv = kube::make_object("v1", "PersistentVolume", "", volume);
    kube::ensure(pv, "metadata.annotations")["pv.kubernetes.io/provisioned-by"] = kProvisioner;
    auto& spec = kube::ensure(pv, "spec");
    spec["accessModes"] = kube::array_at(*claim, "spec.accessModes");
    spec["capacity"] = Object{{"storage", kube::text_at(*claim, "spec.resources.requests.storage", "1Gi")}};
    spec["claimRef"] = reference;
    spec["hostPath"] = Object{{"path", folder}, {"type", "DirectoryOrCreate"}};
    spec["persistentVolumeReclaimPolicy"] = "Delete";
    spec["storageClassName"] = kStorageClass;
    spec["volumeMode"] = "Filesystem";
    auto made = co_await client.create(kPersistentVolumes, std::move(pv));
    if (!made && made.error().code != Code::already_exists && made.error().reason != "AlreadyExists")
      co_return std::unexpected(made.error());
    if (!made) made = co_await client.get(kPersistentVolumes, {"", volume});
    if (!made) co_return std::unexpected(made.error());
    bound = *made;
    manager.event(*claim, "Normal", "ProvisioningSucceeded", fmt::format("Successfully provisioned volume {}", volume),
                  std::string(kProvisioner));
  } else {
    volume = kube::name_of(*bound);
    auto taken = co_await client.patch(kPersistentVolumes, {"", volume}, kube::PatchType::merge,
                                       Object{{"spec", Object{{"claimRef", reference}}}});
    if (!taken) co_return std::unexpected(taken.error());
  }
  (void)co_await client.patch(kPersistentVolumes, {"", volume}, kube::PatchType::merge,
                              Object{{"status", Object{{"phase", "Bound"}}}}, "status");
  Object spec{{"volumeName", volume}};
  if (kube::at(*claim, "spec.storageClassName") == nullptr) spec["storageClassName"] = kStorageClass;
  Object metadata{{"annotations", Object{{"pv.kubernetes.io/bind-completed", "yes"},
                                         {"pv.kubernetes.io/bound-by-controller", "yes"}}}};
  auto named = co_await client.patch(kube::gvr::pvcs, key, kube::PatchType::merge,
                                     Object{{"metadata", std::move(metadata)}, {"spec", std::move(spec)}});
  if (!named) co_return std::unexpected(named.error());
  Object status{{"phase", "Bound"},
                {"accessModes", kube::array_at(*claim, "spec.accessModes")},
                {"capacity", kube::object_at(*bound, "spec.capacity")}};
  auto done = co_await client.patch(kube::gvr::pvcs, key, kube::PatchType::merge, Object{{"status", std::move(status)}},
                                    "status");
  if (!done) co_return std::unexpected(done.error());
  co_return kube::Again{};
}

}  // namespace mr::node
