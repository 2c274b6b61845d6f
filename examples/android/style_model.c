/* The native methods of StyleModel.java, over the bundle multistyle26. */
#include <jni.h>
#include <stdio.h>
#include <stdlib.h>

#include "edgeinfer_threads.h"
#include "multistyle26.h"

typedef struct {
    void *memory;
    edgeinfer_threads threads;
} style_model;

static void throw_status(JNIEnv *env, const char *verb, int status) {
    static const char *const reasons[] = {
        "done", "an array is missing", "too little memory", "no such number of threads", "not open",
        "this CPU lacks instructions that the model was compiled for",
    };
    char message[128];
    snprintf(message, sizeof message, "%s: %s", verb, reasons[status]);
    (*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalStateException"), message);
}

JNIEXPORT jlong JNICALL Java_org_edgeinfer_restyle_StyleModel_open(JNIEnv *env, jclass type, jint threads) {
    (void)type;
    size_t size = multistyle26_memory_size(threads);
    style_model *model = calloc(1, sizeof *model);
    if (model && size)
        model->memory = malloc(size);
    if (!model || (size && !model->memory)) {
        free(model);
        throw_status(env, "open", EDGEINFER_MEMORY);
        return 0;
    }
    int status = size ? multistyle26_init(model->memory, size, threads) : EDGEINFER_THREADS;
    if (!status &&
        edgeinfer_threads_start(&model->threads, multistyle26_work, multistyle26_stop, model->memory, threads))
        status = EDGEINFER_THREADS;
    if (status) {
        free(model->memory);
        free(model);
        throw_status(env, "open", status);
        return 0;
    }
    return (jlong)(intptr_t)model;
}

/* The address of a direct buffer of at least `bytes`, else null. */
static void *buffer_address(JNIEnv *env, jobject buffer, int64_t bytes) {
    if (!buffer || (*env)->GetDirectBufferCapacity(env, buffer) * (jlong)sizeof(float) < bytes)
        return 0;
    return (*env)->GetDirectBufferAddress(env, buffer);
}

JNIEXPORT void JNICALL Java_org_edgeinfer_restyle_StyleModel_run(JNIEnv *env, jclass type, jlong handle, jobject image,
                                                                 jobject weights, jobject result) {
    (void)type;
    style_model *model = (style_model *)(intptr_t)handle;
    const void *inputs[] = {
        buffer_address(env, image, MULTISTYLE26_INPUT_0_BYTES),
        buffer_address(env, weights, MULTISTYLE26_INPUT_1_BYTES),
    };
    void *outputs[] = {buffer_address(env, result, MULTISTYLE26_OUTPUT_0_BYTES)};
    int status = multistyle26_run(model ? model->memory : 0, inputs, outputs);
    if (status)
        throw_status(env, "run", status);
}

JNIEXPORT void JNICALL Java_org_edgeinfer_restyle_StyleModel_close(JNIEnv *env, jclass type, jlong handle) {
    (void)env, (void)type;
    style_model *model = (style_model *)(intptr_t)handle;
    if (!model)
        return;
    edgeinfer_threads_stop(&model->threads, multistyle26_stop, model->memory);
    free(model->memory);
    free(model);
}
