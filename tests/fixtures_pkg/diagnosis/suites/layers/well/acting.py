from garden.web import app, language, visitor


def act_as(name):
    app.dependency_overrides[visitor] = lambda: name


def speak(word):
    return language.set(word)
