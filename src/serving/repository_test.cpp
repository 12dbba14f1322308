// Many models in one process: read when they are asked for, within a memory, beside each other, and unloaded meanwhile.
// The models are LightGBM texts, and folders that a Python worker of the test's own reads as slowly as it is told.
#include "serving/repository.h"

#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include "await.h"
#include "serving/shared_models.h"
#include "temp_dir.h"

namespace mr::serving {
namespace {

namespace fs = std::filesystem;

// Answers `number` for every row; `more` splits that change nothing make it larger.
std::string constant_model(int number, int more = 0) {
  std::string features, thresholds, types, left, right, values = std::to_string(number), counts;
  const int splits = more + 1;
  for (int i = 0; i < splits; ++i) {
    features += i == 0 ? "0" : " 0";
    thresholds += fmt::format("{}{}.5", i == 0 ? "" : " ", i);
    types += i == 0 ? "2" : " 2";
    left += fmt::format("{}{}", i == 0 ? "" : " ", i + 1 < splits ? i + 1 : -1);
    right += fmt::format("{}{}", i == 0 ? "" : " ", -2 - i);
    values += fmt::format(" {}", number);
  }
  return fmt::format(
      "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
      "objective=regression\nfeature_names=a\nfeature_infos=[0:3]\n\nTree=0\nnum_leaves={}\nnum_cat=0\n"
      "split_feature={}\nsplit_gain={}\nthreshold={}\ndecision_type={}\nleft_child={}\nright_child={}\n"
      "leaf_value={}\nis_linear=0\nshrinkage=1\n\n\nend of trees\n",
      splits + 1, features, features, thresholds, types, left, right, values);
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// As if it had been written long ago: what has just been written is not taken for the same.
void make_old(const fs::path& path) {
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1));
}

double answer_of(const Model& m) {
  Frame f;
  f.rows = f.columns = 1;
  f.data = {1};
  auto out = m.loaded.engine->predict(f);
  EXPECT_TRUE(out) << out.error().message;
  return out && out->numbers.size() == 1 ? out->numbers[0] : -1;
}

// Starts when it is let, once for all.
class SlowModels : public PythonModels {
 public:
  class Answer final : public Engine {
   public:
    Result<Output> predict(const Frame& in) const override {
      Output out;
      out.rows = in.rows;
      out.numbers.assign(in.rows, 7);
      return out;
    }
    std::size_t features() const override { return 0; }
    const std::vector<std::string>& feature_names() const override { return none_; }
    std::string description() const override { return "slow"; }
    bool remote() const override { return true; }

   private:
    std::vector<std::string> none_;
  };
  Result<std::unique_ptr<Engine>> start(const PythonModel&) override {
    ++starts;
    gate.get_future().wait();
    return std::make_unique<Answer>();
  }
  Result<PythonEnvironment> environment(const std::string&) override { return PythonEnvironment{}; }
  std::promise<void> gate;
  std::atomic<int> starts = 0;
};

struct Slow {
  Slow() {
    write(fs::path(dir.path()) / "slow" / "MLmodel",
          "flavors:\n  python_function:\n    loader_module: something.else\n    python_version: 3.11.0\n");
    write(fs::path(dir.path()) / "fast" / "model.lgb", constant_model(3));
  }
  void add(Repository& r, const char* name, Limits limits = {}) {
    ModelSource s{name, "", dir.file(name)};
    s.settings.limits = limits;
    ASSERT_TRUE(r.add(std::move(s)));
  }
  LoadOptions options() const {
    LoadOptions o;
    o.python = python;
    o.check = CheckMode::off;
    return o;
  }
  testing::TempDir dir;
  std::shared_ptr<SlowModels> python = std::make_shared<SlowModels>();
};

task::Task<void> ask(Repository& r, std::string name, std::promise<Repository::Found>& out) {
  out.set_value(co_await r.get(std::move(name), ""));
}

// Requests for a model that are under way on a loop.
struct Requests {
  Requests(task::Loops& loops, Repository& r, const char* name, std::size_t count) : answers(count) {
    std::promise<void> sent;
    loops.at(0).post([&] {
      for (auto& a : answers) task::detach(ask(r, name, a));
      sent.set_value();
    });
    sent.get_future().wait();
  }
  std::vector<std::promise<Repository::Found>> answers;
};

TEST(Repository, ManyWaitForOneModelAndOthersAnswerMeanwhile) {
  Slow s;
  task::Loops loops(1);
  Repository r(s.options(), {.lazy = true});
  s.add(r, "slow");
  s.add(r, "fast");
  Requests slow(loops, r, "slow", 200);
  auto fast = testing::await_on(loops, r.get("fast", ""));
  ASSERT_TRUE(fast) << fast.error().message;
  EXPECT_EQ(answer_of(**fast), 3);
  s.python->gate.set_value();
  for (auto& a : slow.answers) {
    auto found = a.get_future().get();
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(answer_of(**found), 7);
  }
  EXPECT_EQ(s.python->starts, 1);
}

TEST(Repository, TooManyWaitingAreRefusedAndLateOnesGiveUp) {
  Slow s;
  task::Loops loops(1);
  Repository r(s.options(), {.lazy = true});
  s.add(r, "slow", {.concurrency = 1, .queue = 2, .timeout_ms = 20});
  Requests asked(loops, r, "slow", 5);
  for (std::size_t i = 3; i < 5; ++i) {
    auto found = asked.answers[i].get_future().get();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Code::resource_exhausted);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    auto found = asked.answers[i].get_future().get();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Code::deadline_exceeded);
  }
  s.python->gate.set_value();  // the reading goes on, and ends before the repository does
}

TEST(Repository, UnloadedWhileItIsReadItStaysSo) {
  Slow s;
  task::Loops loops(1);
  Repository r(s.options(), {.lazy = true});
  s.add(r, "slow");
  Requests asked(loops, r, "slow", 3);
  while (s.python->starts == 0) std::this_thread::yield();
  ASSERT_TRUE(r.unload("slow"));
  s.python->gate.set_value();
  for (auto& a : asked.answers) {
    auto found = a.get_future().get();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Code::not_found);
  }
  EXPECT_FALSE(r.unload("slow"));
  EXPECT_TRUE(r.loaded().empty());
  EXPECT_EQ(r.memory(), 0U);
}

// Names of a hundred files: a file system that has just deleted thousands is slow to make new ones.
TEST(Repository, TwoThousandModelsInALittleMemory) {
  constexpr int kModels = 2000;
  constexpr int kFiles = 100;
  constexpr int kClients = 16;
  constexpr int kAsks = 100;
  testing::TempDir dir;
  for (int i = 0; i < kFiles; ++i) {
    auto file = dir.file(fmt::format("m{}.lgb", i));
    write(file, constant_model(i, 40));
    make_old(file);
  }
  task::Loops loops(2);
  Repository one;
  ASSERT_TRUE(one.add({"m0", "", dir.file("m0.lgb")}));
  const auto engine = (*one.find("m0", ""))->loaded.memory;
  const auto each = one.memory();
  ASSERT_GT(each, engine);
  ASSERT_TRUE(one.unload("m0"));
  ASSERT_EQ(one.memory(), 0U);

  const auto budget = 50 * each + each / 2;
  Repository r({}, {.lazy = true, .memory = budget});
  for (int i = 0; i < kModels; ++i)
    ASSERT_TRUE(r.add({fmt::format("m{}", i), "", dir.file(fmt::format("m{}.lgb", i % kFiles))}));
  EXPECT_EQ(r.size(), std::size_t{kModels});
  std::atomic<int> wrong = 0;
  std::atomic<int> refused = 0;
  std::vector<std::promise<void>> ended(kClients);
  auto client = [](Repository& repo, int number, std::atomic<int>& bad, std::atomic<int>& no,
                   std::promise<void>& end) -> task::Task<void> {
    auto state = static_cast<std::uint32_t>(number) * 2654435761U + 1;
    std::shared_ptr<const Model> held;  // over the next one's reading: it may be evicted while it is in use
    int held_number = 0;
    for (int k = 0; k < kAsks; ++k) {
      state = state * 1664525U + 1013904223U;
      const int i = static_cast<int>((state >> 8) % (k % 2 == 0 ? kModels : 60));
      auto found = co_await repo.get(fmt::format("m{}", i), "");
      if (!found) {
        ++no;
        continue;
      }
      if (answer_of(**found) != i % kFiles) ++bad;
      if (held && answer_of(*held) != held_number) ++bad;
      held = *found;
      held_number = i % kFiles;
    }
    end.set_value();
  };
  for (int c = 0; c < kClients; ++c)
    loops.at(static_cast<std::size_t>(c % 2)).post([&, c] {
      task::detach(client(r, c, wrong, refused, ended[static_cast<std::size_t>(c)]));
    });
  for (auto& e : ended) e.get_future().wait();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(refused, 0);
  EXPECT_LE(r.memory(), budget);
  EXPECT_GT(r.memory(), budget / 2);
  // Those of one file share its engine.
  std::set<const Engine*> engines;
  for (const auto& m : r.loaded()) engines.insert(m->loaded.engine.get());
  EXPECT_EQ(r.memory(), r.loaded().size() * (each - engine) + engines.size() * engine);
  EXPECT_EQ(r.index().size(), std::size_t{kModels});
  for (const auto& e : r.index()) EXPECT_TRUE(e.ready) << e.name;
  // What was unloaded by hand is not read again by a request.
  ASSERT_TRUE(r.unload("m5"));
  EXPECT_FALSE(testing::await_on(loops, r.get("m5", "")));
  ASSERT_TRUE(r.load("m5"));
  EXPECT_TRUE(testing::await_on(loops, r.get("m5", "")));
}

TEST(Repository, ModelsOfTheSameFilesShareTheirEngine) {
  testing::TempDir dir;
  auto file = fs::path(dir.path()) / "a" / "model.lgb";
  write(file, constant_model(1));
  make_old(file);
  Repository r, other;
  ASSERT_TRUE(r.add({"one", "", dir.file("a")}));
  const auto memory = r.memory();
  ASSERT_TRUE(r.add({"two", "", dir.file("a")}));
  ASSERT_TRUE(other.add({"three", "", dir.file("a")}));
  const auto* engine = (*r.find("one", ""))->loaded.engine.get();
  EXPECT_EQ((*r.find("two", ""))->loaded.engine.get(), engine);
  EXPECT_EQ((*other.find("three", ""))->loaded.engine.get(), engine);
  EXPECT_LT(r.memory(), 2 * memory);
  // Other content is another engine.
  write(file, constant_model(2));
  make_old(file);
  ASSERT_TRUE(r.load("two"));
  EXPECT_EQ(answer_of(**r.find("one", "")), 1);
  EXPECT_EQ(answer_of(**r.find("two", "")), 2);
  // The last one takes it along.
  std::weak_ptr<const Engine> weak = (*r.find("one", ""))->loaded.engine;
  ASSERT_TRUE(r.unload("one"));
  ASSERT_TRUE(other.unload("three"));
  EXPECT_TRUE(weak.expired());
}

TEST(Repository, WhatHasJustBeenWrittenIsNotTakenForTheSame) {
  testing::TempDir dir;
  auto file = fs::path(dir.path()) / "model.lgb";
  write(file, constant_model(1));
  EXPECT_TRUE(content_key(file).empty());
  make_old(file);
  auto key = content_key(file);
  EXPECT_FALSE(key.empty());
  write(file, constant_model(2));
  fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_NE(content_key(file), key);
}

TEST(Repository, EnginesCountTheirMemory) {
  testing::TempDir dir;
  auto file = dir.file("model.lgb");
  auto memory = [&](int splits) {
    write(file, constant_model(1, splits));
    auto loaded = load_model(file);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? loaded->engine->memory() : 0;
  };
  const auto small = memory(0);
  const auto large = memory(20'000);
  EXPECT_GT(small, 0U);
  // A node is 8 bytes and its value 8: 40,001 of them.
  EXPECT_GT(large - small, 20'000U * 16);
  EXPECT_LT(large - small, 20'000U * 64);
}

}  // namespace
}  // namespace mr::serving
