// The pages by their addresses; each part of the platform is loaded when it is first opened.
import type { ComponentType } from "preact";

type Loader = () => Promise<{ default: ComponentType<never> }>;
export const routes: Record<string, Loader> = {
  "/pipelines": () => import("./pages/pipelines"),
  "/pipelines/runs/{id}": () => import("./pages/run"),
  "/pipelines/recurring/{id}": () => import("./pages/recurring"),
  "/pipelines/definitions/{id}": () => import("./pages/definition"),
  "/experiments": () => import("./pages/experiments"),
  "/experiments/{id}": () => import("./pages/experiment"),
  "/experiments/{id}/compare": () => import("./pages/compare"),
  "/experiments/{experiment}/runs/{id}": () => import("./pages/tracked"),
  "/models": () => import("./pages/models"),
  "/models/{name}": () => import("./pages/model"),
  "/endpoints": () => import("./pages/endpoints"),
  "/endpoints/{ns}/{name}": () => import("./pages/endpoint"),
  "/objects": () => import("./pages/objects"),
  "/objects/{bucket}/{path...}": () => import("./pages/objects"),
  "/resources": () => import("./pages/resources"),
  "/resources/{group}/{version}/{plural}": () => import("./pages/resource-list"),
  "/resources/{group}/{version}/{plural}/{ns}/{name}": () => import("./pages/resource"),
};
