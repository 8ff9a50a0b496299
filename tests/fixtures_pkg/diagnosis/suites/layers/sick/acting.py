from garden.web import app, language, visitor


def act_as(name):
    app.dependency_overrides[visitor] = lambda: name  # SP702


def speak(word):
    language.set(word)  # SP703
