#include "pipelines/cache_key.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::pipelines {
namespace {

struct CacheKeyTest : ::testing::Test {
  Component component;
  Task task;
  NodeView node;
  void SetUp() override {
    component.name = "comp-train";
    component.container.image = "python:3.11";
    component.container.command = {"train"};
    node.component = &component;
    node.task = &task;
    node.inputs = {{"rows", 3}, {"run_date", "monday"}};
    Artifact a;
    a.uri = "s3://b/data";
    node.input_artifacts["data"] = {a};
  }
  std::string key(const std::set<std::string>& ignored = {}) const { return cache_key(node, {}, ignored).digest; }
  void annotate(std::string_view names) {
    component.kubernetes =
        json::parse(fmt::format(R"({{"podMetadata": {{"annotations": {{"pipelines.millrace.dev/cache-ignore":
                                           "{}"}}}}}})",
                                names))
            ->get_object();
  }
};

TEST_F(CacheKeyTest, WhatIsIgnoredDoesNotCount) {
  const auto before = key({"run_date"});
  const auto plain = key();
  EXPECT_NE(before, plain);
  node.inputs["run_date"] = "tuesday";
  EXPECT_EQ(key({"run_date"}), before);
  EXPECT_NE(key(), plain);
  node.inputs["rows"] = 4;
  EXPECT_NE(key({"run_date"}), before);
}

TEST_F(CacheKeyTest, ATaskNamesItsOwn) {
  const auto both = key({"run_date", "data"});
  annotate(" run_date ,data,,");
  EXPECT_EQ(key(), both);
  node.inputs["run_date"] = "tuesday";
  node.input_artifacts["data"].front().uri = "s3://b/other";
  EXPECT_EQ(key(), both);
  // What is ignored is never said to have changed.
  EXPECT_FALSE(cache_key(node, {}, {}).parts.contains("inputArtifactNames"));
}

TEST_F(CacheKeyTest, AnExplicitKeyStandsForAllInputs) {
  task.cache_key = "mine";
  const auto before = key();
  node.inputs["rows"] = 4;
  EXPECT_EQ(key(), before);
  task.cache_key = "other";
  EXPECT_NE(key(), before);
}

}  // namespace
}  // namespace mr::pipelines
