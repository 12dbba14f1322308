#include "serving/python/host.h"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <future>

#include "core/durable_file.h"
#include "crypto/random.h"
#include "node/environments.h"
#include "serving/python/environment.h"
#include "task/loop.h"
#include "task/pool.h"

namespace mr::serving::python {

namespace fs = std::filesystem;

namespace {

// Sleeping threads of each model: as many requests can be gathered into a batch.
constexpr unsigned kWaiting = 48;

// Runs a task on a loop and waits for it, from a thread that is no loop.
template <class T>
T wait_on(task::Loop& loop, std::function<task::Task<T>()> make) {
  std::promise<T> promise;
  loop.post([&] {
    task::detach([](std::function<task::Task<T>()> m, std::promise<T>& p) -> task::Task<void> {
      p.set_value(co_await m());
    }(make, promise));
  });
  return promise.get_future().get();
}

// A file that one process at a time holds; waits for it.
Result<Fd> hold(const std::string& path, bool wait = true) {
  Fd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0640));
  if (!fd) return fail_errno(path, errno);
  while (::flock(fd.get(), wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0)
    if (errno != EINTR) return fail_errno(path, errno);
  return fd;
}

class Host final : public PythonModels, public std::enable_shared_from_this<Host> {
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
  task::Loop& loop() { return loops_.at(0); }
  [[nodiscard]] const WorkerOptions& worker() const { return options_.worker; }

 private:
  Result<node::Image> interpreter(const std::string& version) const;
  Result<std::string> workers_folder();

  HostOptions options_;
  node::Environments environments_;  // used on the loop
  node::Images images_;
  std::mutex mutex_;
  std::string folder_;  // of this process's workers; made with the first
  Fd folder_lock_;
  std::vector<std::weak_ptr<Group>> groups_;
  task::Loops loops_{1};
};

class PythonEngine final : public Engine {
 public:
  PythonEngine(std::shared_ptr<Host> host, std::shared_ptr<Group> group, Signature signature, std::string python)
      : host_(std::move(host)),
        group_(std::move(group)),
        signature_(std::move(signature)),
        python_(std::move(python)),
        waiting_("mr-python", kWaiting, host_->worker().queue) {
    for (const auto& c : signature_.columns)
      if (!c.name.empty()) names_.push_back(c.name);
  }
  ~PythonEngine() override {
    host_->loop().post([group = std::move(group_)] { group->close(); });
  }
  [[nodiscard]] Result<Output> predict(const Frame& frame) const override {
    auto job = std::make_shared<Job>();
    MR_TRY(job->call, make_call(frame, signature_));
    std::promise<Result<Output>> promise;
    auto answer = promise.get_future();
    job->done = [&promise](Result<Output> r) { promise.set_value(std::move(r)); };
    host_->loop().post([group = group_, job = std::move(job)]() mutable { group->submit(std::move(job)); });
    return answer.get();
  }
  [[nodiscard]] bool remote() const override { return true; }
  [[nodiscard]] task::Pool* waiting() const override { return &waiting_; }
  [[nodiscard]] std::size_t features() const override {
    if (!signature_.columns.empty()) return signature_.columns.size();
    const auto& shape = signature_.tensor_shape;
    return signature_.tensor && shape.size() == 2 && shape[1] > 0 ? static_cast<std::size_t>(shape[1]) : 0;
  }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override { return names_; }
  [[nodiscard]] std::string description() const override { return "the model's own library, Python " + python_; }

 private:
  std::shared_ptr<Host> host_;
  std::shared_ptr<Group> group_;
  Signature signature_;
  std::string python_;
  std::vector<std::string> names_;
  mutable task::Pool waiting_;
};

Host::~Host() {
  // The processes are gone before the loop is.
  wait_on<int>(loop(), [this]() -> task::Task<int> {
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

Result<std::unique_ptr<Engine>> Host::start(const PythonModel& model) {
  MR_TRY(auto wanted, read_environment(model.folder));
  MR_TRY(auto image, interpreter(wanted.python));
  MR_TRY(auto folder, workers_folder());
  MR_CHECK(make_folders(options_.data + "/model-envs"));
  auto say = [&](std::string_view text) {
    if (model.log) model.log(text);
  };
  auto version = fmt::format("3.{}", image.python.minor);
  if (!image.note.empty())
    say(fmt::format("the model was written by Python {}, which is not on this machine; {} runs it", wanted.python,
                    version));
  if (!environments_.ready(image.python, wanted.requirements))
    say(fmt::format("making a Python {} environment of {} requirements", version, wanted.count));
  auto path = [&]() -> Result<std::string> {
    // Another program with the same folder may be making it at this moment.
    MR_TRY(auto lock, hold(options_.data + "/model-envs/lock"));
    return wait_on<Result<std::string>>(loop(), [&] { return environments_.get(image.python, wanted.requirements); });
  }();
  if (!path)
    return fail(Code::failed_precondition, "the model's Python environment cannot be made: " + path.error().message);
  GroupSpec spec{options_.worker, model, image.python, *path, folder, options_.data + "/model-envs/cache"};
  if (model.memory > 0) spec.options.memory = model.memory;
  if (model.replicas > 0) spec.options.replicas = model.replicas;
  auto group = std::make_shared<Group>(std::move(spec));
  {
    std::lock_guard guard(mutex_);
    std::erase_if(groups_, [](const auto& g) { return g.expired(); });
    groups_.push_back(group);
  }
  auto up = wait_on<Result<>>(loop(), [&] { return group->start(); });
  if (!up) {
    loop().post([group = std::move(group)] { group->close(); });
    auto e = up.error();
    e.code = Code::failed_precondition;
    e.message = "the model's Python worker does not start: " + e.message;
    return std::unexpected(std::move(e));
  }
  return std::make_unique<PythonEngine>(shared_from_this(), std::move(group), model.signature, version);
}

}  // namespace

std::shared_ptr<PythonModels> make_python_models(HostOptions options) {
  return std::make_shared<Host>(Host::absolute(std::move(options)));
}

}  // namespace mr::serving::python
