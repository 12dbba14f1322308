#include "sql/database.h"

#include <pthread.h>

#include "log/log.h"

namespace mr::sql {

namespace {
constexpr std::size_t kQueueCapacity = 8192;
constexpr std::size_t kBatch = 1024;
constexpr std::chrono::microseconds kGather(200);
std::atomic<std::uint64_t> next_id = 1;
thread_local std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> tls_readers;
}  // namespace

struct Database::Impl {
  std::uint64_t id = next_id++;
  std::string path;
  std::unique_ptr<Connection> writer;
  std::unique_ptr<task::Pool> pool;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Job*> queue;
  bool stopping = false;
  std::size_t wanted = 1;  // the writer sleeps until the queue has so many jobs (or its wait ends)
  std::thread thread;

  void loop() {
    std::vector<Job*> batch;
    std::size_t expected = 1;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        wanted = 1;
        wake.wait(lock, [&] { return stopping || !queue.empty(); });
        if (queue.empty()) return;
        // The clients of the last commit are about to come back: a short wait for most of them saves an fsync for the
        // rest. A lone client is never held up.
        if (expected > 1 && queue.size() < expected && !stopping) {
          wanted = expected;
          wake.wait_for(lock, kGather, [&] { return stopping || queue.size() >= expected; });
        }
        // Follows a growing crowd at once and a shrinking one step by step.
        expected = std::max({std::size_t{1}, std::min(queue.size(), kBatch), expected - 1});
        if (queue.size() <= kBatch) {
          batch.swap(queue);
        } else {
          batch.assign(queue.begin(), queue.begin() + kBatch);
          queue.erase(queue.begin(), queue.begin() + kBatch);
        }
      }
      commit(batch);
      batch.clear();
    }
  }

  void commit(std::vector<Job*>& batch) {
    auto begin = writer->exec("BEGIN IMMEDIATE");
    if (!begin) return refuse_all(batch, begin.error());
    for (auto* job : batch) {
      if (auto r = writer->exec("SAVEPOINT job"); !r) {
        job->refuse(r.error());
        continue;
      }
      if (!job->run(*writer)) (void)writer->exec("ROLLBACK TO job");
      (void)writer->exec("RELEASE job");
    }
    auto end = writer->exec("COMMIT");
    if (!end) {
      (void)writer->exec("ROLLBACK");
      log::error("commit failed", {{"jobs", batch.size()}, {"detail", end.error().detail}});
      return refuse_all(batch, end.error());
    }
    finish(batch);
  }
  void refuse_all(std::vector<Job*>& batch, const Error& e) {
    for (auto* job : batch) job->refuse(e);
    finish(batch);
  }
  // One post a loop, however many of its coroutines go on.
  static void finish(std::vector<Job*>& batch) {
    std::vector<std::pair<task::Loop*, std::vector<std::coroutine_handle<>>>> by_loop;
    for (auto* job : batch) {
      if (job->loop == nullptr) {
        job->done();
        continue;
      }
      auto it = std::find_if(by_loop.begin(), by_loop.end(), [&](auto& e) { return e.first == job->loop; });
      if (it == by_loop.end()) it = by_loop.insert(by_loop.end(), {job->loop, {}});
      it->second.push_back(job->waiter);
    }
    for (auto& [l, handles] : by_loop)
      l->post([hs = std::move(handles)] {
        for (auto h : hs) h.resume();
      });
  }
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::~Database() { stop(); }

Result<std::unique_ptr<Database>> Database::open_sqlite(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  MR_TRY(impl->writer, Connection::open_sqlite(path, false));
  impl->pool = std::make_unique<task::Pool>("mr-scan", 2, 1024);
  auto* p = impl.get();
  impl->thread = std::thread([p] {
    pthread_setname_np(pthread_self(), "mr-writer");
    p->loop();
  });
  return std::unique_ptr<Database>(new Database(std::move(impl)));
}

void Database::stop() {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping) return;
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
  impl_->pool->stop();
}

Result<Connection*> Database::reader() {
  auto& slot = tls_readers[impl_->id];
  if (!slot) {
    MR_TRY(slot, Connection::open_sqlite(impl_->path, true));
  }
  return slot.get();
}

task::Pool& Database::scans() { return *impl_->pool; }

bool Database::submit(Job& job) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping || impl_->queue.size() >= kQueueCapacity) {
      job.refuse(Error{Code::unavailable,
                       impl_->stopping ? "the server is stopping" : "too many writes are waiting; try again later",
                       {},
                       {}});
      return false;
    }
    impl_->queue.push_back(&job);
    if (impl_->queue.size() < impl_->wanted) return true;
  }
  impl_->wake.notify_one();
  return true;
}

}  // namespace mr::sql
