#include "serving/python/host.h"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <future>
#include <thread>

#include "core/durable_file.h"
#include "crypto/digest.h"
#include "crypto/random.h"
#include "node/environments.h"
#include "serving/onnx/locate.h"
#include "serving/python/environment.h"
#include "task/loop.h"
#include "task/pool.h"
#include "task/wait.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving::python {

namespace fs = std::filesystem;

namespace {

// Sleeping threads of each model: as many requests can be gathered into a batch.
constexpr unsigned kWaiting = 48;

// A file that one process at a time holds; waits for it.
Result<Fd> hold(const std::string& path, bool wait = true) {
  Fd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0640));
  if (!fd) return fail_errno(path, errno);
  while (::flock(fd.get(), wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0)
    if (errno != EINTR) return fail_errno(path, errno);
  return fd;
}

class Host final : public PythonModels, public OnnxModels, public std::enable_shared_from_this<Host> {
 public:
  explicit Host(HostOptions options)
      : options_(std::move(options)), environments_(options_.data + "/model-envs"), images_({}) {}

  static HostOptions absolute(HostOptions o) {
    std::error_code ec;
    o.data = fs::absolute(o.data, ec).lexically_normal().string();  // sandboxes are told of it
    return o;
  }
  ~Host() override;
  Result<std::unique_ptr<Engine>> start(const PythonModel& model) override;
  Result<PythonEnvironment> environment(const std::string& folder) override;
  Result<LoadedModel> start(const OnnxModel& model) override;
  Result<OnnxLibrary> library(const OnnxModel& model) override;
  task::Loop& loop() { return loops_.at(0); }
  [[nodiscard]] const WorkerOptions& worker() const { return options_.worker; }

 private:
  Result<node::Image> interpreter(const std::string& version) const;
  Result<std::string> workers_folder();
  struct Made {
    node::Interpreter python;
    std::string path;
    std::string note;  // when the model wants another Python
  };
  Result<Made> made_environment(const std::string& folder, const LogLine& log);
  Result<std::shared_ptr<Group>> started(GroupSpec spec);

  HostOptions options_;
  node::Environments environments_;  // used on the loop
  node::Images images_;
  std::mutex mutex_;
  std::string folder_;  // of this process's workers; made with the first
  Fd folder_lock_;
  std::vector<std::weak_ptr<Group>> groups_;
  task::Loops loops_{1};
};

class WorkerEngine final : public Engine {
 public:
  WorkerEngine(std::shared_ptr<Host> host, std::shared_ptr<Group> group, Signature signature, std::string description,
               bool original)
      : host_(std::move(host)),
        group_(std::move(group)),
        signature_(std::move(signature)),
        description_(std::move(description)),
        original_(original),
        waiting_("mr-python", kWaiting, host_->worker().queue) {
    for (const auto& c : signature_.columns)
      if (!c.name.empty()) names_.push_back(c.name);
  }
  ~WorkerEngine() override {
    host_->loop().post([group = std::move(group_)] { group->close(); });
  }
  [[nodiscard]] Result<Output> predict(const Frame& frame) const override {
    auto job = std::make_shared<Job>();
    MR_TRY(job->call, make_call(frame, signature_));
    return ask(job);
  }
  [[nodiscard]] bool scores() const override { return group_->scores(); }
  [[nodiscard]] Result<ScoringAnswer> score(std::string_view type, std::string_view body) const override {
    auto job = std::make_shared<Job>();
    job->call = scoring_call(type, body);
    job->alone = true;
    MR_CHECK(ask(job));
    return std::move(*job->scored);
  }
  [[nodiscard]] bool remote() const override { return true; }
  [[nodiscard]] bool original() const override { return original_; }
  [[nodiscard]] task::Pool* waiting() const override { return &waiting_; }
  [[nodiscard]] std::size_t features() const override {
    if (!signature_.columns.empty()) return signature_.columns.size();
    const auto& shape = signature_.tensor_shape;
    return signature_.tensor && shape.size() == 2 && shape[1] > 0 ? static_cast<std::size_t>(shape[1]) : 0;
  }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override { return names_; }
  [[nodiscard]] std::string description() const override { return description_; }

 private:
  [[nodiscard]] Result<Output> ask(const std::shared_ptr<Job>& job) const {
    std::promise<Result<Output>> promise;
    auto answer = promise.get_future();
    job->done = [&promise](Result<Output> r) { promise.set_value(std::move(r)); };
    host_->loop().post([group = group_, job] { group->submit(job); });
    return answer.get();
  }
  std::shared_ptr<Host> host_;
  std::shared_ptr<Group> group_;
  Signature signature_;
  std::string description_;
  bool original_;
  std::vector<std::string> names_;
  mutable task::Pool waiting_;
};

// A bare model is described by what its graph takes and gives.
Signature bare_signature(const Answer& ready) {
  static constexpr std::string_view names[] = {"bool",  "uint8", "uint16",  "uint32",  "uint64",  "int8",  "int16",
                                               "int32", "int64", "float16", "float32", "float64", "object"};
  Signature s;
  s.present = true;
  for (const auto& in : ready.inputs)
    s.tensors.push_back({in.name, std::string(names[static_cast<std::size_t>(in.type)]), in.type, in.shape});
  if (s.tensors.size() == 1) {
    auto& t = s.tensors[0];
    s.tensor = true;
    s.tensor_name = t.name;
    s.tensor_dtype = t.dtype;
    s.tensor_type = t.type;
    s.tensor_shape = t.shape;
    s.tensors.clear();
  }
  s.outputs = ready.outputs;
  return s;
}

Host::~Host() {
  // The processes are gone before the loop is.
  task::wait_on<int>(loop(), [this]() -> task::Task<int> {
    for (const auto& weak : groups_)
      if (auto group = weak.lock()) {
        group->close();
        co_await group->ended();
      }
    co_return 0;
  });
  loops_.stop();
  std::error_code ec;
  if (!folder_.empty()) fs::remove_all(folder_, ec);
}

Result<node::Image> Host::interpreter(const std::string& version) const {
  auto second = version.find('.', version.find('.') + 1);
  auto image = images_.resolve(version.empty() ? "python:3" : "python:" + version.substr(0, second));
  if (!image) return fail(Code::failed_precondition, "there is no Python on this machine: install python3");
  return image;
}

// A folder of this process; those that other processes left behind are removed.
Result<std::string> Host::workers_folder() {
  std::lock_guard guard(mutex_);
  if (!folder_.empty()) return folder_;
  const auto all = options_.data + "/workers";
  MR_CHECK(make_folders(all));
  std::error_code ec;
  for (fs::directory_iterator it(all, ec), end; !ec && it != end; it.increment(ec))
    if (auto lock = hold(it->path().string() + "/lock", false)) {
      std::error_code ignored;
      fs::remove_all(it->path(), ignored);
    }
  auto mine = all + "/" + crypto::random_hex(6);
  MR_CHECK(make_folders(mine));
  MR_TRY(folder_lock_, hold(mine + "/lock"));
  folder_ = mine;
  return folder_;
}

Result<PythonEnvironment> Host::environment(const std::string& folder) {
  MR_TRY(auto wanted, read_environment(folder));
  MR_TRY(auto image, interpreter(wanted.python));
  PythonEnvironment out;
  out.python = fmt::format("3.{}", image.python.minor);
  if (!image.note.empty())
    out.note = fmt::format("the model was written by Python {}, which is not on this machine", wanted.python);
  out.packages = wanted.count;
  out.cached = environments_.ready(image.python, wanted.requirements);
  return out;
}

Result<Host::Made> Host::made_environment(const std::string& folder, const LogLine& log) {
  MR_TRY(auto wanted, read_environment(folder));
  MR_TRY(auto image, interpreter(wanted.python));
  MR_CHECK(make_folders(options_.data + "/model-envs"));
  auto say = [&](std::string_view text) {
    if (log) log(text);
  };
  auto version = fmt::format("3.{}", image.python.minor);
  if (!image.note.empty())
    say(fmt::format("the model was written by Python {}, which is not on this machine; {} runs it", wanted.python,
                    version));
  const bool there = environments_.ready(image.python, wanted.requirements);
  if (!there) say(fmt::format("making a Python {} environment of {} requirements", version, wanted.count));
  const auto began = time::mono_ns();
  auto path = [&]() -> Result<std::string> {
    Fd lock;  // another thread, or program with the same folder, may be making this one at this moment
    if (!there) {
      auto key = crypto::digest(crypto::Algorithm::sha256, image.python.path + "\n" + wanted.requirements);
      MR_TRY(lock, hold(fmt::format("{}/model-envs/{}.lock", options_.data, text::hex(key).substr(0, 24))));
    }
    return task::wait_on<Result<std::string>>(loop(),
                                              [&] { return environments_.get(image.python, wanted.requirements); });
  }();
  if (!path)
    return fail(Code::failed_precondition, "the model's Python environment cannot be made: " + path.error().message);
  if (!there) say(fmt::format("the environment was made in {} s", (time::mono_ns() - began) / 1'000'000'000));
  return Made{image.python, std::move(*path),
              image.note.empty() ? std::string() : fmt::format("the model was written by Python {}", wanted.python)};
}

// The workers of a model, one of which can answer.
Result<std::shared_ptr<Group>> Host::started(GroupSpec spec) {
  MR_TRY(spec.folder, workers_folder());
  spec.cache = options_.data + "/model-envs/cache";
  spec.options = options_.worker;
  if (spec.model.memory > 0) spec.options.memory = spec.model.memory;
  if (spec.model.replicas > 0) spec.options.replicas = spec.model.replicas;
  const std::string_view what = spec.onnx ? "ONNX Runtime" : "Python";
  auto group = std::make_shared<Group>(std::move(spec));
  {
    std::lock_guard guard(mutex_);
    std::erase_if(groups_, [](const auto& g) { return g.expired(); });
    groups_.push_back(group);
  }
  auto up = task::wait_on<Result<>>(loop(), [&] { return group->start(); });
  if (up) return group;
  loop().post([group = std::move(group)] { group->close(); });
  auto e = up.error();
  if (e.code != Code::unimplemented) e.code = Code::failed_precondition;
  e.message = fmt::format("the model's {} worker does not start: {}", what, e.message);
  return std::unexpected(std::move(e));
}

Result<std::unique_ptr<Engine>> Host::start(const PythonModel& model) {
  MR_TRY(auto made, made_environment(model.folder, model.log));
  GroupSpec spec;
  spec.model = model;
  spec.python = made.python;
  spec.environment = made.path;
  auto group = started(std::move(spec));
  if (!group) {
    auto e = group.error();
    if (!made.note.empty()) e.message += fmt::format(" ({}; 3.{} runs it)", made.note, made.python.minor);
    return std::unexpected(std::move(e));
  }
  return std::make_unique<WorkerEngine>(shared_from_this(), std::move(*group), model.signature,
                                        fmt::format("the model's own library, Python 3.{}", made.python.minor), true);
}

Result<OnnxLibrary> Host::library(const OnnxModel& model) {
  OnnxLibrary out;
  out.path = options_.onnxruntime.empty() ? onnx::system_library() : options_.onnxruntime;
  if (!out.path.empty()) return out;
  constexpr std::string_view kNone =
      "ONNX Runtime is not on this machine: install its library, {}, or name it with --onnxruntime";
  auto none = [&] { return fail(Code::unimplemented, fmt::format(kNone, "libonnxruntime.so")); };
  if (!model.described) return none();
  auto wanted = read_environment(model.folder);
  if (!wanted || !onnx::asks_for_onnxruntime(wanted->requirements)) return none();
  auto image = interpreter(wanted->python);
  if (!image) return none();
  out.environment = fmt::format("Python 3.{}, {} requirements", image->python.minor, wanted->count);
  if (!environments_.ready(image->python, wanted->requirements)) return out;
  MR_TRY(auto made, made_environment(model.folder, {}));
  out.path = onnx::library_of_environment(made.path, made.python.minor);
  if (out.path.empty())
    return fail(Code::unimplemented, "the onnxruntime of the model's own environment has no library of its own");
  return out;
}

Result<LoadedModel> Host::start(const OnnxModel& model) {
  MR_TRY(auto found, library(model));
  if (found.path.empty()) {
    auto made = made_environment(model.folder, model.log);
    if (!made) return fail(Code::unimplemented, "ONNX Runtime is not on this machine, and " + made.error().message);
    MR_TRY(found, library(model));
  }
  std::error_code ec;
  GroupSpec spec;
  spec.model.folder = model.folder;
  spec.model.log = model.log;
  spec.model.memory = model.memory;
  auto& onnx = spec.onnx.emplace();
  onnx.program = fs::read_symlink("/proc/self/exe", ec).string();
  onnx.library = found.path;
  onnx.file = model.file;
  if (model.alone) {
    onnx.files = {model.file};
    // A link would bring what it leads to on this machine into the sandbox.
    for (const char* data : {".data", "_data"})
      if (fs::is_regular_file(fs::symlink_status(model.folder + "/" + model.file + data, ec)))
        onnx.files.push_back(model.file + data);
  }
  auto number = [&](const char* key, int otherwise) {
    auto it = model.options.find(key);
    auto n = it == model.options.end() ? std::nullopt : text::to_i64(it->second);
    return std::to_string(n && *n >= 0 && *n <= 1024 ? static_cast<int>(*n) : otherwise);
  };
  const auto cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / options_.worker.replicas);
  onnx.args = {"--threads",      number("intra_op_num_threads", cores), "--parallel", number("inter_op_num_threads", 1),
               "--optimization", number("graph_optimization_level", 99)};
  if (auto it = model.options.find("execution_mode");
      it != model.options.end() && text::iequals(it->second, "parallel"))
    onnx.args.emplace_back("--concurrent");
  MR_TRY(auto group, started(std::move(spec)));
  LoadedModel out;
  out.signature = model.described ? model.signature : bare_signature(group->ready());
  auto description = "ONNX Runtime " + group->ready().onnxruntime;
  out.engine = std::make_unique<WorkerEngine>(shared_from_this(), std::move(group), out.signature,
                                              std::move(description), false);
  return out;
}

}  // namespace

Workers make_workers(HostOptions options) {
  auto host = std::make_shared<Host>(Host::absolute(std::move(options)));
  return {host, host};
}

}  // namespace mr::serving::python
