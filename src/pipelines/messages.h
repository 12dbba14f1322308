// The messages of the pipelines API (v2beta1 of KFP 2.17), one table each. Constants.
#pragma once
#include "pipelines/message.h"

namespace mr::pipelines::wire {

extern const MessageType kExperiment, kListExperiments;
extern const MessageType kPipeline, kListPipelines, kVersion, kListVersions, kCreatePipelineAndVersion;
extern const MessageType kRun, kListRuns, kListTasks, kTaskDetail;
extern const MessageType kRecurringRun, kListRecurringRuns;
extern const MessageType kFilter;
extern const MessageType kArtifact, kListArtifacts, kArtifactTask, kListArtifactTasks;

}  // namespace mr::pipelines::wire
